from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import create_model
from vmmjax.models.vggish import Postprocess, VGGish

# Weights of deviation .01 shrink a signal through nine layers to nothing; these keep it.
SMALL: dict[str, Any] = dict(widths=(4, 4, 6, 6, 8, 8), hidden=16, features=12)
MEL = np.random.default_rng(0).normal(-1, 2, (3, 200, 64)).astype(np.float32)


def made(encoder: VGGish) -> Any:
    """Variables under which values neither vanish nor grow."""
    variables = encoder.init(jax.random.key(0), MEL[:, :96], jnp.ones((3, 96), bool), False)
    return jax.tree.map(lambda leaf: leaf / (0.01 * np.sqrt(np.prod(leaf.shape[:-1]) / 2)) if leaf.ndim > 1 else leaf,
                        variables)


VARIABLES = made(VGGish(**SMALL))


def run(valid: Any = None, x: Any = MEL, **options: Any) -> Any:
    valid = jnp.ones(x.shape[:2], bool) if valid is None else valid
    return jax.jit(lambda v: VGGish(**SMALL, **options).apply(v, x, valid, False), compiler_options=FAST)(VARIABLES)


def test_the_published_shapes() -> None:
    model = create_model('vggish')
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'audio': jnp.zeros((2, 300, 64))}, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables)) == 72_141_184
    assert outputs.logits is None
    assert outputs.features.shape == (2, 128)
    assert {name: outputs.endpoints[f'audio/{name}'].shape for name in ('tokens', 'embedding', 'conv1', 'pool4')} == {
        'tokens': (2, 3, 128), 'embedding': (2, 3, 128), 'conv1': (2, 3, 96, 64, 64), 'pool4': (2, 3, 6, 4, 512)}


def test_a_token_is_a_patch_whose_frames_are_all_valid() -> None:
    tokens, _ = run(jnp.arange(200)[None] < jnp.array([200, 191, 95])[:, None])
    np.testing.assert_array_equal(tokens.mask, [[True, True], [True, False], [False, False]])
    alone, _ = run(x=MEL[:, 96:192])
    np.testing.assert_allclose(tokens.x[:, 1:], alone.x, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize('shape', [(1, 95, 64), (1, 96, 80), (1, 0, 64)])
def test_a_sound_too_short_or_with_other_bands_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match='at least 96 frames'):
        create_model('vggish').init(jax.random.key(0), {'audio': jnp.zeros(shape)}, train=False)


def test_the_last_relu_is_all_that_parts_the_two_releases() -> None:
    plain, _ = run()
    rectified, endpoints = run(last_relu=True)
    assert plain.x.min() < -0.1
    np.testing.assert_allclose(rectified.x, np.maximum(plain.x, 0), atol=1e-6)
    np.testing.assert_array_equal(rectified.x, endpoints['embedding'])


@pytest.mark.slow
def test_whitened_tokens_are_bytes_and_their_parameters_are_not_trained() -> None:
    encoder = VGGish(**SMALL, pca=True)
    variables = made(encoder)
    assert variables['constants']['pproc'].keys() == {'pca_eigen_vectors', 'pca_means'}
    assert 'pproc' not in variables['params']
    rng = np.random.default_rng(1)
    vectors, means = rng.normal(size=(12, 12)).astype(np.float32), rng.normal(size=12).astype(np.float32)
    variables = variables | {'constants': {'pproc': {'pca_eigen_vectors': vectors, 'pca_means': means}}}
    tokens, endpoints = encoder.apply(variables, MEL, jnp.ones((3, 200), bool), False)
    whitened = np.einsum('oi,bni->bno', vectors, np.asarray(endpoints['embedding']) - means)
    np.testing.assert_allclose(tokens.x, (np.clip(whitened, -2, 2) + 2) * 63.75, atol=0.501)
    np.testing.assert_array_equal(tokens.x, np.round(tokens.x))


def test_quantisation_has_the_published_ends() -> None:
    x = jnp.array([-9, -2, -1.99, 0, 1.99, 2, 9])
    np.testing.assert_array_equal(Postprocess().init_with_output(jax.random.key(0), x)[0],
                                  [0, 0, 1, 128, 254, 255, 255])


def test_bfloat16_is_near_and_gradients_are_finite() -> None:
    tokens, _ = run()
    halved, _ = run(dtype=jnp.bfloat16)
    assert halved.x.dtype == jnp.bfloat16
    assert jnp.abs(halved.x.astype(jnp.float32) - tokens.x).max() < 0.02 * jnp.abs(tokens.x).max()
    valid = jnp.arange(200)[None] < jnp.array([200, 191, 0])[:, None]

    def loss(params: Any, x: jax.Array) -> jax.Array:
        tokens, _ = VGGish(**SMALL).apply({'params': params}, jnp.where(valid[..., None], x, 0), valid, True)
        return jnp.square(tokens.mean()).sum()

    gradients = jax.jit(jax.grad(loss, (0, 1)), compiler_options=FAST)(VARIABLES['params'], MEL)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    assert not gradients[1][2].any()
    assert not gradients[1][1, 96:].any()
