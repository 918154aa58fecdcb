"""The kinds of questions. What a command needs to know of one stands in its class, see `base.Task`."""

from typing import Any

from vmmjax.store.store import Store
from vmmjax.tasks.base import Task
from vmmjax.tasks.classification import Classification, Several
from vmmjax.tasks.events import Events
from vmmjax.tasks.multi_label import MultiLabel
from vmmjax.tasks.regression import Regression
from vmmjax.tasks.retrieval import Retrieval

__all__ = ['Task', 'create']

TASKS: dict[str, type[Task]] = {'events': Events, 'multi_label': MultiLabel, 'regression': Regression,
                                'retrieval': Retrieval}


def create(config: Any, store: Store) -> Task:
    """The task of a run's config.

    Args:
      config: the run's.
      store: with the splits of the run.

    Raises:
      UserError: for whatever the config names that is not there.
    """
    # An objective of a user's own is measured as classification is.
    usual = Classification if isinstance(config.data.target, str) else Several
    return TASKS.get(config.task.get('name', ''), usual)(config, store)
