from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_convolution import both_forms
from vmmjax.models import layers
from vmmjax.models.layers import BatchNorm, max_pool3d

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(('size', 'window', 'strides'), [
    ((4, 6, 7), (3, 3, 3), (1, 1, 1)), ((5, 4, 3), (3, 3, 3), (2, 2, 2)), ((1, 7, 6), (1, 3, 3), (1, 2, 2)),
    ((3, 3, 2), (2, 2, 2), (2, 2, 2)), ((1, 1, 1), (3, 3, 3), (1, 1, 1))])
def test_forms_of_pooling_agree_bit_for_bit_with_ties(size: Any, window: Any, strides: Any) -> None:
    x = jnp.asarray(RNG.integers(-2, 3, size=(2, *size, 3)), jnp.float32)
    native, stacked = both_forms(lambda x, form: max_pool3d(x, window, strides, form), x)
    jax.tree.map(np.testing.assert_array_equal, native[0], stacked[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), native[1], stacked[1])


def test_pooling_keeps_nan() -> None:
    x = jnp.zeros((1, 3, 3, 3, 1)).at[0, 1, 1, 1, 0].set(jnp.nan)
    assert jnp.isnan(max_pool3d(x, (3, 3, 3), (1, 1, 1), 'stacked')).all()


@pytest.mark.parametrize('train', [True, False])
def test_batch_norm_is_flaxs_where_all_is_valid(train: bool) -> None:
    x = jnp.asarray(RNG.normal(2, 3, size=(4, 3, 5, 5, 6)), jnp.float32)
    ours = BatchNorm(momentum=0.9, epsilon=1e-3)
    flax = nn.BatchNorm(use_running_average=not train, momentum=0.9, epsilon=1e-3, use_scale=False)
    mask = jnp.ones(4, bool)
    variables = ours.init(jax.random.key(0), x, mask, False)
    weights = jnp.asarray(RNG.normal(size=x.shape), jnp.float32)

    def gradient(call: Any) -> Any:
        return jax.grad(lambda x: (call(x)[0] * weights).sum())(x)

    def call_ours(x: jax.Array) -> Any:
        return ours.apply(variables, x, mask, train, mutable=['batch_stats'])

    def call_flax(x: jax.Array) -> Any:
        return flax.apply(variables, x, mutable=['batch_stats'])

    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=2e-5), call_ours(x), call_flax(x))
    np.testing.assert_allclose(gradient(call_ours), gradient(call_flax), rtol=1e-4, atol=1e-5)


def test_batch_norm_counts_what_is_valid_alone() -> None:
    norm = BatchNorm(momentum=0.5, use_scale=True)
    x = jnp.asarray(RNG.normal(size=(5, 7, 3)), jnp.float32)
    mask = jnp.asarray([1, 0, 1, 1, 0], bool)
    variables = norm.init(jax.random.key(0), x, mask, False)
    y, state = norm.apply(variables, x, mask, True, mutable=['batch_stats'])
    part, expected = norm.apply(variables, x[mask], jnp.ones(3, bool), True, mutable=['batch_stats'])
    np.testing.assert_allclose(y[mask], part, rtol=1e-5, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), state, expected)
    frames = jnp.asarray(RNG.random((5, 7)) < 0.5)
    _, state = norm.apply(variables, x, frames, True, mutable=['batch_stats'])
    np.testing.assert_allclose(state['batch_stats']['mean'], x[frames].mean(0) / 2, rtol=1e-4)


def test_batch_norm_without_anything_valid() -> None:
    norm = BatchNorm()
    x, mask = jnp.zeros((2, 3, 4)), jnp.zeros(2, bool)
    variables = norm.init(jax.random.key(0), x, mask, False)
    y, state = norm.apply(variables, x, mask, True, mutable=['batch_stats'])
    assert jnp.isfinite(y).all()
    jax.tree.map(np.testing.assert_array_equal, state['batch_stats'], variables['batch_stats'])


def test_batch_norm_keeps_statistics_in_float32() -> None:
    norm = BatchNorm(dtype=jnp.bfloat16)
    x = jnp.asarray(RNG.normal(size=(8, 2, 3)), jnp.bfloat16)
    mask = jnp.ones(8, bool)
    y, state = norm.apply(norm.init(jax.random.key(0), x, mask, False), x, mask, True, mutable=['batch_stats'])
    assert y.dtype == jnp.bfloat16
    assert state['batch_stats']['mean'].dtype == jnp.float32


def test_initial_weights() -> None:
    kernel = np.asarray(layers.unit_init(jax.random.key(0), (3, 3, 3, 16, 64)))
    assert np.abs(kernel).max() <= 2 / np.sqrt(432)
    assert abs(kernel.std() * np.sqrt(432) - 0.8796) < 0.01
