import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax.models.conv2d_audio import Conv2DAudio

ENCODER = Conv2DAudio(widths=(4, 6), features=10)


@pytest.mark.parametrize(('frames', 'bands', 'tokens'), [(13, 8, 4), (1, 1, 1), (16, 5, 4)])
def test_shapes(frames: int, bands: int, tokens: int) -> None:
    x, valid = jnp.zeros((2, frames, bands)), jnp.ones((2, frames), bool)
    (out, endpoints), _ = jax.eval_shape(lambda: ENCODER.init_with_output(jax.random.key(0), x, valid, train=False))
    assert out.x.shape == (2, tokens, 10)
    assert out.mask.shape == (2, tokens)
    assert list(endpoints) == ['normalised', 'stage_1', 'stage_2']


def test_bands_are_normalised_over_valid_frames_and_the_rest_is_silent() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(5, 3, size=(3, 40, 4)), jnp.float32)
    valid = jnp.arange(40)[None] < jnp.asarray([40, 17, 0])[:, None]
    variables = ENCODER.init(jax.random.key(0), x, valid, train=False)
    (tokens, endpoints), _ = ENCODER.apply(variables, x, valid, train=True, mutable=['batch_stats'])
    seen = np.asarray(endpoints['normalised'])
    np.testing.assert_allclose(seen[valid].mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(seen[valid].std(0), 1, atol=1e-3)
    assert not seen[~valid].any()
    np.testing.assert_array_equal(tokens.mask.sum(1), [10, 5, 0])


def test_tokens_know_the_frequency() -> None:
    x = jnp.zeros((2, 16, 16)).at[0, :, 2:6].set(1).at[1, :, 10:14].set(1)
    variables = ENCODER.init(jax.random.key(0), x, jnp.ones((2, 16), bool), train=False)
    tokens, _ = ENCODER.apply(variables, x, jnp.ones((2, 16), bool), train=False)
    low, high = tokens.mean()
    assert jnp.abs(low - high).max() > 0.1


@pytest.mark.parametrize(('which', 'moved'), [('all', set()), ('all_but_first', {'input_norm'})])
def test_frozen_statistics_stay_in_training(which: str, moved: set[str]) -> None:
    encoder = Conv2DAudio(widths=(4,), features=6, frozen_bn=which)
    x, valid = jax.random.normal(jax.random.key(1), (2, 8, 4)), jnp.ones((2, 8), bool)
    variables = encoder.init(jax.random.key(0), x, valid, train=False)
    _, state = encoder.apply(variables, x, valid, train=True, mutable=['batch_stats'])
    before = variables['batch_stats']
    assert {name for name in before if (state['batch_stats'][name]['mean'] != before[name]['mean']).any()} == moved


def test_time_is_kept_where_letters_need_it() -> None:
    encoder = Conv2DAudio(widths=(4, 4, 4), halvings=1, features=5)
    x, valid = jnp.ones((1, 9, 8)), jnp.arange(9)[None] < 4
    tokens = jax.jit(lambda: encoder.init_with_output(jax.random.key(0), x, valid, False)[0][0])()
    assert tokens.x.shape == (1, 5, 5)
    assert tokens.mask.tolist() == [[True, True, False, False, False]]
