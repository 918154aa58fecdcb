from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import convolution
from vmmjax.models.convolution import conv2d, conv3d
from vmmjax.training import make_mesh

RNG = np.random.default_rng(0)


def both_forms(function: Any, *arguments: jax.Array, other: str = 'stacked') -> list[Any]:
    """Value, and gradients of a weighted sum, in the native form and another."""
    weights = jnp.asarray(RNG.normal(size=function(*arguments, form='native').shape), jnp.float32)
    return [(function(*arguments, form=form),
             jax.grad(lambda args, form=form: (function(*args, form=form) * weights).sum())(arguments))
            for form in ('native', other)]


@pytest.mark.parametrize(('size', 'window', 'strides'), [
    ((8, 12, 13), (7, 7, 7), (2, 2, 2)), ((1, 3, 3), (3, 3, 3), (1, 1, 1)), ((2, 2, 5), (3, 3, 3), (1, 1, 1)),
    ((5, 4, 4), (3, 3, 3), (2, 2, 2)), ((1, 5, 5), (7, 7, 7), (2, 2, 2)), ((4, 3, 2), (1, 1, 1), (1, 1, 1)),
    ((9, 2, 2), (2, 1, 1), (3, 1, 1)), ((4, 4, 4), (1, 3, 3), (1, 2, 2))])
def test_forms_of_a_convolution_agree(size: tuple[int, ...], window: tuple[int, ...], strides: Any) -> None:
    x = jnp.asarray(RNG.normal(size=(2, *size, 3)), jnp.float32)
    kernel = jnp.asarray(RNG.normal(size=(*window, 3, 4)), jnp.float32)
    native, stacked = both_forms(lambda x, k, form: conv3d(x, k, strides, form), x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4), native, stacked)


@pytest.mark.parametrize(('size', 'window', 'strides'), [
    ((6, 8, 10), (7, 7, 7), (2, 2, 2)), ((1, 9, 8), (1, 7, 7), (1, 2, 2)), ((9, 5, 2), (2, 4, 1), (3, 3, 1))])
def test_folded_pixels_are_convolved_as_they_are(size: tuple[int, ...], window: tuple[int, ...], strides: Any) -> None:
    x = jnp.asarray(RNG.normal(size=(2, *size, 3)), jnp.float32)
    kernel = jnp.asarray(RNG.normal(size=(*window, 3, 4)), jnp.float32)
    native, folded = jax.jit(lambda *arguments: both_forms(
        lambda x, k, form: conv3d(x, k, strides, form), *arguments, other='folded'), compiler_options=FAST)(x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=0, atol=1e-5 * abs(a).max()), native, folded)


@pytest.mark.parametrize(('channels', 'platform', 'strides'), [
    (3, 'tpu', (1, 1, 1)), (3, 'gpu', (2, 2, 2)), (8, 'tpu', (2, 2, 2))])
def test_pixels_are_folded_on_a_tpu_and_features_are_not(channels: int, platform: str, strides: Any) -> None:
    shapes = jnp.zeros((1, 4, 8, 8, channels)), jnp.zeros((7, 7, 7, channels, 4))
    with convolution.on_platform(platform):
        equations = jax.make_jaxpr(lambda x, kernel: conv3d(x, kernel, (2, 2, 2)))(*shapes).eqns
    assert [each.params['window_strides'] for each in equations
            if each.primitive.name == 'conv_general_dilated'] == [strides]


@pytest.mark.parametrize('strides', [(1, 1), (2, 1)])
@pytest.mark.parametrize(('size', 'window', 'padding'), [
    ((2, 13, 40, 3, 2), (3, 3), (1, 1)), ((1, 8, 64, 2, 130), (3, 3), (1, 1)), ((2, 1, 33, 2, 3), (1, 5), (0, 2)),
    ((1, 10, 50, 3, 2), (2, 4), (0, 3)), ((3, 5, 5, 2, 4), (3, 3), (2, 0)), ((1, 13, 36, 2, 3), (7, 3), (3, 1)),
    ((2, 15, 32, 2, 2), (1, 1), (1, 1))])
@pytest.mark.parametrize('band', [1, 2 ** 20])
def test_a_picture_in_bands_is_convolved_as_the_whole(size: Any, window: Any, padding: Any, strides: Any, band: int,
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convolution, 'BAND', band)
    batch, height, width, channels, features = size
    x = jnp.asarray(RNG.normal(size=(batch, height, width, channels)), jnp.float32)
    kernel = jnp.asarray(RNG.normal(size=(*window, channels, features)), jnp.float32)
    native, stacked = both_forms(lambda x, k, form: conv2d(x, k, strides, padding, form=form), x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3), native, stacked)


@pytest.mark.parametrize(('size', 'window', 'strides', 'padding'), [
    ((8, 9), (3, 3), (1, 1), (1, 1)), ((9, 8), (3, 3), (2, 2), (1, 1)), ((5, 7), (2, 3), (3, 2), (0, 2))])
def test_a_convolution_of_each_channel_by_itself(size: Any, window: Any, strides: Any, padding: Any) -> None:
    x = jnp.asarray(RNG.normal(size=(2, *size, 5)), jnp.float32)
    kernel = jnp.asarray(RNG.normal(size=(*window, 1, 5)), jnp.float32)
    native, stacked = both_forms(lambda x, k, form: conv2d(x, k, strides, padding, 5, form), x, kernel)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), native, stacked)
    half = conv2d(x.astype(jnp.bfloat16), kernel.astype(jnp.bfloat16), strides, padding, 5, 'stacked')
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), native[0], rtol=.02, atol=.05)


@pytest.mark.parametrize('dtype', [jnp.bfloat16, jnp.float64])
def test_bands_keep_the_precision(dtype: Any) -> None:
    with jax.enable_x64(dtype == jnp.float64):
        x, kernel = jnp.ones((1, 12, 40, 2), dtype), jnp.ones((3, 3, 2, 2), dtype)
        y, gradients = jax.value_and_grad(lambda x, k: conv2d(x, k, padding=(1, 1), form='stacked').sum(), (0, 1))(
            x, kernel)
        assert [y.dtype, *(each.dtype for each in gradients)] == [dtype] * 3


def test_bands_of_a_vmapped_convolution() -> None:
    x = jnp.asarray(RNG.normal(size=(3, 1, 12, 40, 2)), jnp.float32)
    kernels = jnp.asarray(RNG.normal(size=(3, 3, 3, 2, 4)), jnp.float32)

    def gradient(x: jax.Array, kernel: jax.Array, form: str) -> jax.Array:
        return jax.grad(lambda k: jnp.square(conv2d(x, k, padding=(1, 1), form=form)).sum())(kernel)

    many = jax.vmap(lambda x, k: gradient(x, k, 'stacked'))(x, kernels)
    each = [gradient(*pair, 'native') for pair in zip(x, kernels, strict=True)]
    np.testing.assert_allclose(many, jnp.stack(each), rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize('size', [(8, 12, 56, 4), (8, 80, 56, 256)])
def test_a_batch_on_several_devices_stays_there(size: Any) -> None:
    # The second has so many gradients that a device's share of them is cut into bands as well.
    mesh = make_mesh(dict(data=8))
    rows, everywhere = NamedSharding(mesh, PartitionSpec('data')), NamedSharding(mesh, PartitionSpec())

    def gradients(x: jax.Array, kernel: jax.Array) -> Any:
        return jax.grad(lambda x, k: jnp.square(conv2d(x, k, padding=(1, 1), form='stacked')).sum(), (0, 1))(x, kernel)

    shapes = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in (size, (3, 3, size[-1], size[-1]))]
    program = jax.jit(gradients, in_shardings=(rows, everywhere), out_shardings=(rows, everywhere))
    text = program.lower(*shapes).compile(compiler_options={'xla_backend_optimization_level': 0}).as_text()
    assert 'all-reduce' in text
    assert not any(word in text for word in ('all-gather', 'all-to-all', 'collective-permute'))


def test_padding_is_tensorflows() -> None:
    # The end gets the odd element, and an input that the stride divides less than one that it does not.
    assert convolution.same_padding(8, 7, 2) == (2, 3)
    assert convolution.same_padding(9, 7, 2) == (3, 3)
    assert convolution.same_padding(1, 2, 2) == (0, 1)
    assert convolution.same_padding(4, 1, 2) == (0, 0)


def test_the_form_is_chosen_by_platform_or_by_name() -> None:
    assert convolution.resolve_form('native') == 'native'
    for platform, form in (('cpu', 'stacked'), ('cuda', 'native'), ('tpu', 'folded')):
        with convolution.on_platform(platform):
            assert convolution.resolve_form(None) == form
    with pytest.raises(UserError, match="did you mean 'stacked'"):
        convolution.resolve_form('staked')
