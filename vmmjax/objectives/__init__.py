"""What is minimised. Every objective is `(apply, params, model_state, batch, rng) -> Loss`."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vmmjax.objectives.base import Loss, Objective, mean_of, total
from vmmjax.objectives.classification import Classification
from vmmjax.objectives.events import Events
from vmmjax.objectives.multi_label import MultiLabel
from vmmjax.objectives.regression import Regression
from vmmjax.objectives.retrieval import Retrieval
from vmmjax.registry import build, find

__all__ = ['Classification', 'Events', 'Loss', 'MultiLabel', 'Objective', 'Regression', 'Retrieval', 'create',
           'mean_of', 'total']

OBJECTIVES: dict[str, Any] = {'classification': Classification, 'events': Events, 'multi_label': MultiLabel,
                              'regression': Regression, 'retrieval': Retrieval}


def create(task: Any, target: str | Sequence[str], training: Mapping[str, np.ndarray] | None = None) -> Any:
    """The objective of `config.task`.

    Args:
      task: name and options.
      target: catalog column, or several.
      training: column -> targets of the training split (rows, ...), for an objective that has an attribute of that
        name and counts in them.

    Raises:
      UserError: for an unknown name or option.
    """
    given: dict[str, Any] = {'target': target if isinstance(target, str) else tuple(target)}
    if 'name' in task and 'training' in inspect.signature(find(task['name'], OBJECTIVES, 'task')).parameters:
        given['training'] = training
    return build(task, OBJECTIVES, 'task', **given)
