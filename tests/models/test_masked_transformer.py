from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax.models.masked_transformer import MaskedTransformer, positions
from vmmjax.models.tokens import Tokens

SMALL = dict(size=(2, 4, 4), hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16)


def compiled(encoder: MaskedTransformer, x: jax.Array, valid: jax.Array) -> Callable[..., Tokens]:
    """The encoder with drawn parameters: of an input, `valid`, and what is kept."""
    quick = {'xla_backend_optimization_level': 0}
    variables = jax.jit(lambda: encoder.init(jax.random.key(1), x, valid, train=False), compiler_options=quick)()
    return jax.jit(lambda x, keep=None: encoder.apply(variables, x, valid, train=False, keep=keep)[0],
                   compiler_options=quick)


def test_positions_are_the_published_ones() -> None:
    table = positions((8, 14, 14), 768)
    for row, first in ((1, (0.8415, 0.5403, 0.8284, 0.5601)), (196, (0.9395, 0.3425, 0.2786, -0.9604)),
                       (1567, (0.6089, -0.7932, 0.0932, -0.9956))):
        np.testing.assert_allclose(table[row, :4], first, atol=5e-5)


def test_positions_of_a_spectrogram_are_those_of_the_masked_autoencoder() -> None:
    # MAE's get_2d_sincos_pos_embed: the column in the first half, the row in the second, sines and then cosines.
    table = positions((1, 5, 3), 16).reshape(5, 3, 16)
    frequencies = 1 / 10000 ** (np.arange(4) / 4)
    for row, column in ((0, 2), (4, 1)):
        expected = [f(place * frequencies) for place in (column, row) for f in (np.sin, np.cos)]
        np.testing.assert_allclose(table[row, column], np.concatenate(expected), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('shape', [(2, 4, 8, 8, 3), (2, 12, 8)])
def test_it_sees_what_is_kept_and_nothing_else(shape: tuple[int, ...]) -> None:
    encoder = MaskedTransformer(pooled=False, **{**SMALL, 'size': (2, 4, 4) if len(shape) == 5 else (1, 4, 4)})
    x = jax.random.normal(jax.random.key(0), shape)
    encode = compiled(encoder, x, jnp.ones(shape[:2], bool))
    whole = encode(x)
    every = jnp.tile(jnp.arange(whole.x.shape[1])[::-1], (2, 1))
    np.testing.assert_allclose(encode(x, every).x[:, ::-1], whole.x, rtol=1e-4, atol=1e-5)
    keep = np.array([[0, 3], [1, 2]])
    some = encode(x, keep)
    assert some.x.shape == (2, 2, 8)
    kept = np.take_along_axis(np.asarray(whole.x), keep[..., None], 1)
    assert not np.allclose(some.x, kept, atol=1e-3)  # The others are not attended to.


def test_invalid_frames_change_nothing() -> None:
    encoder = MaskedTransformer(**SMALL)
    x, valid = jax.random.normal(jax.random.key(0), (2, 4, 8, 8, 3)), jnp.array([[True] * 2 + [False] * 2, [False] * 4])
    encode = compiled(encoder, x, valid)
    one, other = encode(x), encode(x.at[0, 2:].set(9))
    np.testing.assert_allclose(one.x[0], other.x[0], rtol=1e-5)
    np.testing.assert_array_equal(one.mask, [[True], [False]])
    assert np.isfinite(one.x).all()
