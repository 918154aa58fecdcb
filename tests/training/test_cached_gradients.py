import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from tests.training import tiny
from vmmjax import models
from vmmjax.errors import UserError
from vmmjax.models import Tokens
from vmmjax.models.dropout import Dropout
from vmmjax.tasks import Contrastive
from vmmjax.training import Player, Players, make_train_step
from vmmjax.training.state import initializer

ROWS = 16


class Dropping(nn.Module):
    """Frames, some of their numbers dropped; or normalised by the batch."""

    features: int = 8
    statistics: bool = False
    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, x, valid, train):
        x = Dropout(0.3, deterministic=not train)(jnp.tanh(nn.Dense(self.features, param_dtype=jnp.float64)(x)))
        if self.statistics:
            x = nn.BatchNorm(use_running_average=not train)(x)
        return Tokens(x, valid), {}


def clips():
    draw = np.random.default_rng(0)
    found = {'id': np.arange(ROWS) % 13, 'mask': (np.arange(ROWS) < 14).astype(float), 'row': np.arange(ROWS)}
    for name in ('a', 'view1/a', 'b', 'view1/b'):
        found[name] = draw.normal(size=(ROWS, 3, 4))
        view, _, stream = name.rpartition('/')
        prefix = f'{view}/' if view else ''
        found[f'{prefix}valid/{stream}'] = draw.random((ROWS, 3)) < 0.7
        found[f'{prefix}present/{stream}'] = np.arange(ROWS) % 5 > 0
    return found


def stepped(microbatches, options=(), players=None, **task):
    model = models.create(dict(
        encoders={name: dict(name='tests.training.test_cached_gradients:Dropping', **dict(options)) for name in 'ab'},
        preprocess=dict(a='none', b='none'), fusion=dict(name='concat'), head={}), 0, jnp.float64, jnp.float64)
    contrast = Contrastive(target='label', dimensions=6, streams=('a', 'b'), **task)
    players = players or Players(Player(optax.sgd(1.0)))

    def init(key):
        variables = dict(model.init(key, clips(), train=False))
        own = contrast.init(key, model.apply(variables, clips(), train=False), clips())
        return {**variables, 'params': {**variables['params'], **own['params']}}

    state = jax.jit(initializer(init, players))(jax.random.key(0))
    state = jax.tree.map(lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, state)
    step = make_train_step(model.apply, contrast, players, seed=3, microbatches=microbatches)
    return jax.jit(step, compiler_options={'xla_backend_optimization_level': 0})(state, clips())


@pytest.mark.parametrize(('parts', 'task'), [(2, {}), (4, dict(windows=2, other_windows='negatives', hidden=(5,)))])
def test_microbatches_have_the_gradient_of_the_whole_batch(parts, task):
    with jax.enable_x64(True):
        (one, expected), (many, metrics) = stepped(1, **task), stepped(parts, **task)
        np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-12)
        np.testing.assert_allclose(metrics['recall1'], expected['recall1'], rtol=1e-12)
        assert expected['gradient_norm'] > 0.01
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), one.params, many.params)


def test_batch_statistics_are_refused():
    with jax.enable_x64(True), pytest.raises(UserError, match=r'keeps batch statistics .* config\.microbatches = 1'):
        stepped(2, dict(statistics=True))


def test_the_task_that_does_not_embed_is_refused():
    class Comparing:
        compares_rows = True

    with pytest.raises(UserError, match='compares the clips of a batch'):
        make_train_step(tiny.Tiny().apply, Comparing(), Players(Player(optax.sgd(1.0))), seed=0, microbatches=2)
