from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.test_convolution import both_forms
from vmmjax.errors import UserError
from vmmjax.models import layers
from vmmjax.models.convolution import on_platform
from vmmjax.models.layers import BatchNorm, max_pool2d, max_pool3d
from vmmjax.planning import collectives, operations
from vmmjax.training import make_mesh, sharding

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(('size', 'window', 'strides'), [
    ((4, 6, 7), (3, 3, 3), (1, 1, 1)), ((5, 4, 3), (3, 3, 3), (2, 2, 2)), ((1, 7, 6), (1, 3, 3), (1, 2, 2)),
    ((3, 3, 2), (2, 2, 2), (2, 2, 2)), ((1, 1, 1), (3, 3, 3), (1, 1, 1))])
def test_forms_of_pooling_agree_bit_for_bit_with_ties(size: Any, window: Any, strides: Any) -> None:
    x = jnp.asarray(RNG.integers(-2, 3, size=(2, *size, 3)), jnp.float32)
    native, stacked = both_forms(lambda x, form: max_pool3d(x, window, strides, form), x)
    jax.tree.map(np.testing.assert_array_equal, native[0], stacked[0])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), native[1], stacked[1])


def test_pooling_is_an_operation_of_xla_but_on_a_cpu() -> None:
    # Separable maxima would have a step of I3D on a TPU move 74 GB in place of 37.
    for platform, there in (('cpu', False), ('cuda', True), ('tpu', True)):
        with on_platform(platform):
            traced = [jax.make_jaxpr(lambda x: max_pool3d(x, (3, 3, 3), (1, 1, 1)))(jnp.zeros((1, 3, 3, 3, 1))),
                      jax.make_jaxpr(lambda x: max_pool2d(x, (3, 3), (1, 1)))(jnp.zeros((1, 3, 3, 1)))]
        assert ['reduce_window_max' in str(each) for each in traced] == [there] * 2


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


GROUPED = RNG.normal(3, 2, size=(6, 4, 5, 3)).astype(np.float32)
FRAMES = RNG.random((6, 4)) < 0.6
FRAMES[4:] = False  # The last of three groups has nothing valid.


def test_groups_are_normalised_apart_and_running_statistics_are_those_of_all() -> None:
    norm = BatchNorm(momentum=0.75, groups=3, epsilon=1e-3)
    variables = norm.init(jax.random.key(0), GROUPED, FRAMES, False)
    y, state = norm.apply(variables, GROUPED, FRAMES, True, mutable=['batch_stats'])
    for rows in (slice(0, 2), slice(2, 4)):
        valid = GROUPED[rows][FRAMES[rows]]  # (frames, 5, 3)
        mean, var = valid.mean((0, 1)), valid.var((0, 1))
        np.testing.assert_allclose(y[rows], (GROUPED[rows] - mean) / np.sqrt(var + 1e-3), rtol=1e-4, atol=1e-5)
    # Weighted by what is valid, variances within and between the groups are the variance of all.
    valid = GROUPED[FRAMES]
    np.testing.assert_allclose(state['batch_stats']['mean'], 0.25 * valid.mean((0, 1)), rtol=1e-5)
    np.testing.assert_allclose(state['batch_stats']['var'], 0.75 + 0.25 * valid.var((0, 1)), rtol=1e-5)
    # Deep networks are many of these, one after another.
    assert np.abs(y[4:]).max() < np.sqrt(GROUPED[4:].size)


def test_gradients_of_groups_are_those_of_batches_apart() -> None:
    def value(norm: BatchNorm, parameters: Any, x: jax.Array, mask: Any, weights: Any) -> Any:
        stats = {'mean': jnp.zeros(3), 'var': jnp.ones(3)}
        y, _ = norm.apply({'params': parameters, 'batch_stats': stats}, x, mask, True, mutable=['batch_stats'])
        return (y * weights * mask[..., None, None]).sum()

    def apart(*arguments: Any) -> Any:
        return sum(value(BatchNorm(use_scale=True), arguments[0], *(part[i:i + 2] for part in arguments[1:]))
                   for i in (0, 2))

    parameters = {'scale': jnp.asarray([1.0, 2, 3]), 'bias': jnp.zeros(3)}
    weights = RNG.normal(size=GROUPED.shape)
    found, expected = (jax.grad(function, (0, 1))(parameters, GROUPED, FRAMES, weights) for function in (
        lambda *arguments: value(BatchNorm(use_scale=True, groups=3), *arguments), apart))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), found, expected)


@pytest.mark.parametrize(('groups', 'sums'), [(1, True), (2, True), (4, False), (8, False)])
def test_groups_within_a_device_are_normalised_without_a_word_between_devices(groups: int, sums: bool) -> None:
    rows = sharding.batch_sharding(make_mesh(dict(data=4), jax.devices()[:4]))
    norm = BatchNorm(groups=groups)
    stats = {'batch_stats': {'mean': jnp.zeros(3), 'var': jnp.ones(3)}, 'params': {'bias': jnp.zeros(3)}}

    def normalise(x: jax.Array, mask: jax.Array) -> Any:
        return norm.apply(stats, x, mask, True, mutable=['batch_stats'])[0]

    x = jax.ShapeDtypeStruct((16, 5, 3), jnp.float32, sharding=rows)
    mask = jax.ShapeDtypeStruct((16,), bool, sharding=rows)
    text = jax.jit(normalise, out_shardings=rows).lower(x, mask).compile().as_text()
    assert bool(collectives(operations(text), 4)) == sums


def test_a_batch_that_does_not_split_into_groups_is_one_sentence() -> None:
    norm, mask = BatchNorm(groups=4), jnp.ones(6, bool)
    variables = norm.init(jax.random.key(0), GROUPED, mask, False)
    with pytest.raises(UserError, match=r'\(6, 4, 5, 3\) does not split into bn_groups = 4'):
        norm.apply(variables, GROUPED, mask, True, mutable=['batch_stats'])


def test_initial_weights() -> None:
    kernel = np.asarray(layers.unit_init(jax.random.key(0), (3, 3, 3, 16, 64)))
    assert np.abs(kernel).max() <= 2 / np.sqrt(432)
    assert abs(kernel.std() * np.sqrt(432) - 0.8796) < 0.01
