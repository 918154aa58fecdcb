from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import create_model
from vmmjax.models.panns import CNN, halve

SMALL: dict[str, Any] = dict(widths=(4, 6, 8), features=10)
MEL = np.random.default_rng(0).normal(-30, 20, (3, 41, 16)).astype(np.float32)
ALL = jnp.ones(MEL.shape[:2], bool)


def made(encoder: nn.Module, seed: int = 1) -> Any:
    """Variables whose BatchNorms are not the identity."""
    variables = jax.jit(lambda key: encoder.init(key, MEL, ALL, False), compiler_options=FAST)(jax.random.key(0))
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: leaf if leaf.ndim > 1 else rng.uniform(0.5, 1.5, leaf.shape).astype(np.float32),
                        variables)


VARIABLES = made(CNN(**SMALL))
forward = jax.jit(lambda variables, x, valid: CNN(**SMALL).apply(variables, x, valid, False), compiler_options=FAST)


@pytest.mark.parametrize(('name', 'parameters', 'features', 'last', 'shape'), [
    ('panns_cnn6', 4_837_455, 512, 'conv_block4', (2, 62, 4, 512)),
    ('panns_cnn10', 5_219_279, 512, 'conv_block4', (2, 62, 4, 512)),
    ('panns_cnn14', 80_753_615, 2048, 'conv_block6', (2, 31, 2, 2048)),
    ('panns_cnn14_16k', 80_753_615, 2048, 'conv_block5', (2, 31, 2, 1024))])
def test_the_published_sizes(name: str, parameters: int, features: int, last: str, shape: tuple[int, ...]) -> None:
    model = create_model(name)
    outputs, variables = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'audio': jnp.zeros((2, 1001, 64))}, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables['params'])) == parameters
    assert outputs.logits.shape == (2, 527)
    assert outputs.endpoints['audio/embedding'].shape == outputs.features.shape == (2, features)
    assert outputs.endpoints['audio/tokens'].shape == (2, 1, features)
    assert outputs.endpoints[f'audio/{last}'].shape == shape


def test_halving_is_average_pooling() -> None:
    x = jnp.asarray(MEL[..., None] * np.arange(1, 4))
    for part in (x, x[:, 1:, 1:]):
        np.testing.assert_allclose(halve(part), nn.avg_pool(part, (2, 2), (2, 2)), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize('frames', [8, 23, 41])
def test_a_padded_clip_is_the_short_clip_whatever_the_padding_holds(frames: int) -> None:
    valid = jnp.broadcast_to(jnp.arange(41) < frames, (3, 41))
    padded, _ = forward(VARIABLES, MEL, valid)
    short, _ = forward(VARIABLES, MEL[:, :frames], valid[:, :frames])
    np.testing.assert_allclose(padded.x, short.x, rtol=1e-4, atol=1e-4)
    assert padded.mask.all()


def test_a_clip_too_short_for_the_network_has_no_token() -> None:
    tokens, _ = forward(VARIABLES, MEL, jnp.arange(41)[None] < jnp.array([8, 7, 0])[:, None])
    np.testing.assert_array_equal(tokens.mask, [[True], [False], [False]])
    assert jnp.isfinite(tokens.x).all()


@pytest.mark.parametrize('shape', [(1, 31, 64), (1, 1001, 31)])
def test_a_spectrogram_too_small_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(UserError, match='at least 32 frames and 32 bands'):
        create_model('panns_cnn14').init(jax.random.key(0), {'audio': jnp.zeros(shape)}, train=False)


@pytest.mark.parametrize('encoder', [CNN(**SMALL), CNN(**SMALL, remat=True)])
def test_absent_rows_leave_training_as_it_is_and_finite(encoder: CNN) -> None:
    valid = jnp.arange(41)[None] < jnp.array([41, 30, 0])[:, None]

    @jax.jit
    def step(params: Any, x: jax.Array, valid: jax.Array) -> Any:
        def loss(params: Any) -> Any:
            (tokens, _), state = encoder.apply(
                {'params': params, 'batch_stats': VARIABLES['batch_stats']}, x, valid, True, mutable=['batch_stats'],
                rngs={'dropout': jax.random.key(0)})
            return jnp.square(tokens.mean()).sum(), (state, tokens.x)
        return jax.value_and_grad(loss, has_aux=True)(params)

    (_, (state, x)), gradients = step(VARIABLES['params'], MEL, valid)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves((state, x, gradients)))
    (_, (noisy, _)), other = step(VARIABLES['params'], np.where(valid[..., None], MEL, 1e3), valid)
    for a, b in zip(jax.tree.leaves((state, gradients)), jax.tree.leaves((noisy, other)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    _, (untouched, _) = step(VARIABLES['params'], MEL, jnp.zeros_like(valid))[0]
    jax.tree.map(np.testing.assert_array_equal, untouched['batch_stats'], VARIABLES['batch_stats'])


def test_frozen_batch_norms_stay() -> None:
    for frozen, changed in (('all', []), ('all_but_first', ['bn0'])):
        _, state = CNN(**SMALL, frozen_bn=frozen, block_dropout=0.0, pool_dropout=0.0).apply(
            VARIABLES, MEL, ALL, True, mutable=['batch_stats'])
        assert [name for name, value in state['batch_stats'].items() if not jax.tree.all(jax.tree.map(
            jnp.array_equal, value, VARIABLES['batch_stats'][name]))] == changed
    with pytest.raises(UserError, match="did you mean 'all'"):
        CNN(frozen_bn='alll')


def test_bfloat16_is_near() -> None:
    full, _ = forward(VARIABLES, MEL, ALL)
    half, _ = CNN(**SMALL, dtype=jnp.bfloat16).apply(VARIABLES, MEL, ALL, False)
    assert half.x.dtype == jnp.bfloat16
    assert jnp.abs(half.x.astype(jnp.float32) - full.x).max() < 0.02 * jnp.abs(full.x).max()
