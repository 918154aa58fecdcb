"""Tasks without a store, and their losses of outputs that a test makes up or a small model gives."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax import config as configs
from vmmjax import models, tasks
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


class Built:
    """The model and the task of a config, with parameters drawn for clips of a test."""

    def __init__(self, config, clips):
        self.model, self.task, self._clips = models.create(config.model, 0), tasks.create(config), clips

    def apply(self, variables, batch, **options):
        return self.model.apply(variables, self.model.preprocess(batch), **options)

    def init(self, key):
        one = jax.tree.map(lambda x: jnp.asarray(x[:1]), self._clips)
        variables = dict(self.model.init(key, self.model.preprocess(one), train=False))
        own = self.task.init(key, self.apply(variables, one, train=False), one)
        return {'params': {**variables['params'], **own['params']}}

    def draw(self):
        """Draws `params`; not while something is traced."""
        self.params = jax.jit(
            self.init, compiler_options={'xla_backend_optimization_level': 0})(jax.random.key(0))['params']

    def ctx(self, batch, params=None, step=0):
        """In training, or with None for the step in evaluation."""
        return Context(self.apply, self.params if params is None else params, {}, batch, 0,
                       None if step is None else jnp.asarray(step), None, jax.random.key(0))
