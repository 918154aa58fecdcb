import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models.tdnn import TDNN

ENCODER = TDNN(frame_size=6, widths=(8, 5), strides=(2, 1), features=10)
RNG = np.random.default_rng(0)


@pytest.mark.parametrize('shape', [(2, 13, 4, 4, 3), (2, 13, 7), (2, 1, 5)])
def test_frames_may_be_pictures_spectra_or_vectors(shape: tuple[int, ...]) -> None:
    x, valid = jnp.zeros(shape), jnp.ones(shape[:2], bool)
    (out, endpoints), _ = jax.eval_shape(lambda: ENCODER.init_with_output(jax.random.key(0), x, valid, train=False))
    assert out.x.shape == (2, 1, ENCODER.features)
    assert out.mask.shape == (2, 1)
    half = -(-shape[1] // 2)
    assert {name: each.shape[1:] for name, each in endpoints.items()} == {
        'frames': (shape[1], 6), 'conv_1': (half, 8), 'conv_2': (half, 5)}


def test_it_knows_when_something_happened() -> None:
    x = np.zeros((2, 16, 3), np.float32)
    x[0, 2:4] = x[1, 11:13] = 1
    valid = jnp.ones((2, 16), bool)
    variables = ENCODER.init(jax.random.key(0), x, valid, train=False)
    early, late = ENCODER.apply(variables, x, valid, train=False)[0].x
    assert jnp.abs(early - late).max() > 0.05


def test_pooling_averages_squares() -> None:
    x = jnp.asarray(RNG.normal(size=(2, 5, 4, 6, 3)), jnp.float32)
    valid = jnp.ones((2, 5), bool)
    coarse = x.reshape(2, 5, 2, 2, 3, 2, 3).mean((3, 5))
    variables = ENCODER.init(jax.random.key(0), coarse, valid, train=False)
    expected = ENCODER.apply(variables, coarse, valid, train=False)[0].x
    found = TDNN(**(vars_of(ENCODER) | {'pool': 2})).apply(variables, x, valid, train=False)[0].x
    np.testing.assert_allclose(found, expected, atol=1e-6)


def vars_of(module: TDNN) -> dict:
    return {name: getattr(module, name) for name in ('frame_size', 'widths', 'strides', 'features')}


def test_absent_clips_leave_the_statistics_as_they_are() -> None:
    x = jnp.asarray(RNG.normal(2, 3, size=(3, 9, 4)), jnp.float32).at[2].set(0)
    valid = jnp.asarray([True, True, False])[:, None] & jnp.ones((3, 9), bool)
    variables = ENCODER.init(jax.random.key(0), x, valid, train=False)
    keys = {'dropout': jax.random.key(1)}
    step = jax.jit(lambda x, valid: ENCODER.apply(variables, x, valid, train=True, mutable=['batch_stats'], rngs=keys),
                   compiler_options=FAST)
    (tokens, _), new = step(x, valid)
    _, alone = step(x[:2], valid[:2])
    np.testing.assert_array_equal(tokens.mask[:, 0], [True, True, False])
    first = jax.tree.leaves(new['batch_stats']['frame_norm']), jax.tree.leaves(alone['batch_stats']['frame_norm'])
    for one, other in zip(*first, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


@pytest.mark.parametrize(('options', 'shape', 'message'), [
    ({'strides': (2,)}, (1, 4, 3), 'give as many of both'),
    ({'pool': 3}, (1, 4, 8, 8, 3), r'pool=3 .* \(1, 4, 8, 8, 3\)'),
    ({'pool': 2}, (1, 4, 8), 'where pictures'),
])
def test_what_does_not_fit_is_refused(options: dict, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(UserError, match=message):
        TDNN(**options).init(jax.random.key(0), jnp.zeros(shape), jnp.ones(shape[:2], bool), train=False)


@pytest.mark.parametrize(('which', 'moved'), [('all', set()), ('all_but_first', {'frame_norm'})])
def test_frozen_statistics_stay_in_training(which: str, moved: set[str]) -> None:
    encoder = TDNN(frame_size=4, widths=(5,), strides=(1,), features=6, dropout=0.0, frozen_bn=which)
    x, valid = jax.random.normal(jax.random.key(1), (2, 8, 4)), jnp.ones((2, 8), bool)
    variables = encoder.init(jax.random.key(0), x, valid, train=False)
    _, state = encoder.apply(variables, x, valid, train=True, mutable=['batch_stats'])
    before = variables['batch_stats']
    assert {name for name in before if (state['batch_stats'][name]['mean'] != before[name]['mean']).any()} == moved


def test_every_frame_is_a_token_where_texts_need_it() -> None:
    encoder = TDNN(frame_size=4, widths=(4, 4), strides=(2, 1), features=5, per_frame=True)
    x, valid = jnp.ones((1, 9, 8)), jnp.arange(9)[None] < 4
    tokens = jax.jit(lambda: encoder.init_with_output(jax.random.key(0), x, valid, False)[0][0])()
    assert tokens.x.shape == (1, 5, 5)
    assert tokens.mask.tolist() == [[True, True, False, False, False]]


def test_convolutions_see_a_mouth_wherever_it_is() -> None:
    encoder = TDNN(**(vars_of(ENCODER) | {'convolutions': (4, 8)}))
    x = np.zeros((2, 9, 32, 32, 1), np.float32)
    x[0, :, 12:16, 12:16] = x[1, :, 16:20, 12:16] = RNG.normal(size=(9, 4, 4, 1))
    valid = jnp.ones((2, 9), bool)
    variables = encoder.init(jax.random.key(0), x, valid, train=False)
    first = variables['params']['picture_1']['kernel']
    assert first.shape == (5, 5, 1, 4)
    dense = variables['params']['frame']['kernel'].reshape(8, 8, 8, 6)
    variables['params']['frame']['kernel'] = jnp.broadcast_to(dense.mean((0, 1)), dense.shape).reshape(-1, 6)
    one, other = encoder.apply(variables, x, valid, train=False)[0].x  # Averaged over places, so that none counts.
    np.testing.assert_allclose(one, other, atol=1e-5)
    with pytest.raises(UserError, match='where pictures'):
        encoder.init(jax.random.key(0), x[..., 0, 0, 0][..., None], valid, train=False)
