import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training import tiny
from vmmjax.models.dropout import Dropout
from vmmjax.tasks import Classification
from vmmjax.training import Player, Players, make_train_step
from vmmjax.training.objective import Context
from vmmjax.training.state import initializer


class Dropping(nn.Module):
    """Half of everything is dropped: of rows, and of two frames of each."""

    @nn.compact
    def __call__(self, batch, train):
        x = Dropout(0.5, deterministic=not train)(batch['x'])
        frames = jnp.repeat(x, 2, 0).reshape(-1, 8)  # (rows x frames, features), the rows outermost.
        frames = Dropout(0.5, deterministic=not train)(frames)
        x = frames.reshape(len(x), 2, 8).mean(1)
        shared = Dropout(0.5, (1,), deterministic=not train)(nn.Dense(16, name='inner')(x))
        return tiny.Outputs(nn.Dense(4, name='head')(shared))


@pytest.mark.parametrize('parts', [2, 4])
def test_microbatches_drop_what_the_whole_batch_drops(parts):
    model, who = Dropping(), Players(Player(optax.sgd(1.0)))
    batch = next(tiny.batches(0))
    start = initializer(lambda key: model.init(key, {'x': jnp.zeros((1, 8))}, train=False), who)(jax.random.key(0))

    def stepped(count):
        return jax.jit(make_train_step(model.apply, Classification(target='label'), who, seed=3, microbatches=count))(
            start, batch)

    (one, expected), (many, metrics) = stepped(1), stepped(parts)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one.params, many.params)
    np.testing.assert_allclose(metrics['loss'], expected['loss'], rtol=1e-6)


def context(rows, step, ids=None, view=None):
    batch = {'row': jnp.asarray(rows, jnp.int32), 'id': jnp.asarray(rows if ids is None else ids, jnp.int32)}
    if view is not None:
        batch['view'] = jnp.asarray(view, jnp.int32)
    return Context(None, {}, {}, batch, 5, None if step is None else jnp.asarray(step, jnp.int32))


def drawn(ctx, name='mask'):
    return np.asarray(jax.vmap(lambda key: jax.random.uniform(key, (3,)))(ctx.keys(name)))


def test_keys_are_of_seed_name_step_and_place_in_the_global_batch():
    whole = drawn(context(range(8), 4))
    assert len(np.unique(whole)) == whole.size
    np.testing.assert_array_equal(drawn(context([3, 6], 4)), whole[[3, 6]])  # A process, or a microbatch.
    assert not np.isin(drawn(context(range(8), 5)), whole).any()
    assert not np.isin(drawn(context(range(8), 4), 'noise'), whole).any()


def test_keys_in_evaluation_are_a_clips_own():
    clips = drawn(context(range(4), None, ids=[7, 8, 9, 10]))
    np.testing.assert_array_equal(drawn(context(range(2), None, ids=[9, 7])), clips[[2, 0]])
    views = drawn(context(range(2), None, ids=[7, 7], view=[0, 1]))
    np.testing.assert_array_equal(views[0], clips[0])
    assert not np.isin(views[1], clips).any()
