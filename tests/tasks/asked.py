"""Tasks without a store, and their losses of outputs that a test makes up."""

from types import SimpleNamespace

import jax
import numpy as np

from vmmjax import config as configs
from vmmjax import tasks
from vmmjax.training.objective import Context


def task(options, target, **facts):
    """The task of `config.task` and `config.data.target`, with facts of a training store."""
    config = configs.defaults()
    config.task, config.data.target = options, target
    config.data.streams = {name: {} for name in ('rgb', 'audio')}
    config.model.stream_head = dict(name='consensus')
    return tasks.create(config, facts)


def described(options, target, columns):
    """The same, with the facts of a store whose catalog has those columns and training clips only."""
    rows = len(next(iter(columns.values())))
    store = SimpleNamespace(
        name='a store', durations=np.ones(rows), rows=lambda split: range(rows), clip=str,
        values=lambda name: np.array(columns[name]), classes=lambda name: sorted({*columns[name]} - {''}))
    data = configs.defaults().data
    return task(options, target, **task(options, target).describe(store, data))


def loss(asked, apply, params, batch):
    """Its loss in the first step."""
    return asked.loss(Context(apply, params, {}, batch, 0, jax.numpy.zeros((), int), None, jax.random.key(0)))
