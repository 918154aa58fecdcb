from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.frames import FAST
from vmmjax.models import create_model
from vmmjax.models.waveform import Conv1D

SMALL: dict[str, Any] = dict(stem=4, groups=((1, 4), (2, 6), (1, 8), (1, 10)))
SOUND = np.random.default_rng(0).uniform(-1, 1, (3, 3000)).astype(np.float32)
ALL = jnp.ones(SOUND.shape, bool)


def made() -> Any:
    """Variables whose BatchNorms are not the identity."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: leaf if leaf.ndim > 1 else rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32),
                        jax.jit(lambda key: Conv1D(**SMALL).init(key, SOUND, ALL, False), compiler_options=FAST)(
                            jax.random.key(0)))


VARIABLES = made()
forward = jax.jit(lambda variables, x, valid: Conv1D(**SMALL).apply(variables, x, valid, False)[0],
                  compiler_options=FAST)


@pytest.mark.parametrize(('name', 'parameters'), [('conv1d_m5', 550_912 + 2 * 1024 + 5130),
                                                  ('conv1d_m11', 1_774_592 + 2 * 2240 + 5130),
                                                  ('conv1d_m18', 3_666_944 + 2 * 3904 + 5130)])
def test_the_papers_sizes(name: str, parameters: int) -> None:
    model = create_model(name)
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'waveform': jnp.zeros((2, 32000))}, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == parameters
    assert outputs.endpoints['waveform/tokens'].shape == (2, 32, 512)
    assert outputs.endpoints['waveform/stem'].shape[1] == 8000
    assert outputs.endpoints['waveform/group_3'].shape[1] == 125
    assert outputs.logits.shape == (2, 10)


@settings(max_examples=10)
@given(samples=st.integers(1, 3000))
def test_a_padded_sound_is_the_short_sound(samples: int) -> None:
    valid = jnp.broadcast_to(jnp.arange(3000) < samples, (3, 3000))
    padded = forward(VARIABLES, np.where(valid, SOUND, 0), valid)
    np.testing.assert_array_equal(padded.mask.sum(1), -(-samples // 1024))
    short = forward(VARIABLES, SOUND[:, :samples], valid[:, :samples])
    np.testing.assert_allclose(padded.mean(), short.mean(), rtol=1e-4, atol=1e-5)


def test_training_sees_only_what_is_there() -> None:
    valid = jnp.arange(3000)[None] < jnp.array([3000, 1700, 0])[:, None]

    @jax.jit
    def step(params: Any, x: jax.Array, valid: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            (tokens, _), state = Conv1D(**SMALL).apply({'params': params, 'batch_stats': VARIABLES['batch_stats']},
                                                       x, valid, True, mutable=['batch_stats'])
            return jnp.square(tokens.mean()).sum(), state
        return jax.grad(loss, has_aux=True)(params)

    x = np.where(valid, SOUND, 0)
    gradients, state = step(VARIABLES['params'], x, valid)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((gradients, state)))
    fewer, other = step(VARIABLES['params'], x[:2], valid[:2])
    for a, b in zip(jax.tree.leaves((gradients, state)), jax.tree.leaves((fewer, other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)
    _, untouched = step(VARIABLES['params'], x, jnp.zeros_like(valid))
    jax.tree.map(np.testing.assert_array_equal, untouched['batch_stats'], VARIABLES['batch_stats'])


def test_bfloat16_is_near() -> None:
    full = forward(VARIABLES, SOUND, ALL)
    half, _ = Conv1D(**SMALL, dtype=jnp.bfloat16).apply(VARIABLES, SOUND, ALL, False)
    assert half.x.dtype == jnp.bfloat16
    assert jnp.abs(half.x.astype(jnp.float32) - full.x).max() < 0.02 * jnp.abs(full.x).max()
