from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmmjax.errors import UserError
from vmmjax.models.temporal_shift import NonLocal, TemporalShift, temporal_pool

NORM = dict(momentum=0.9, epsilon=1e-5, use_scale=True)
OPTIONS = dict(form=None, dtype=jnp.float32, param_dtype=jnp.float32)


def shifted(x: np.ndarray, direction: str, div: int) -> np.ndarray:
    """The published shift in three lines."""
    out, fold = x.copy(), x.shape[-1] // div
    ahead, behind = (slice(fold), slice(fold, 2 * fold)) if direction == 'bi' else (slice(0), slice(fold))
    out[..., ahead], out[..., behind] = 0, 0
    out[:, :-1, ..., ahead], out[:, 1:, ..., behind] = x[:, 1:, ..., ahead], x[:, :-1, ..., behind]
    return out


@settings(max_examples=60)
@given(frames=st.integers(1, 5), channels=st.integers(1, 20), div=st.integers(1, 9),
       direction=st.sampled_from(['bi', 'uni']))
def test_shift_is_the_published_one(frames: int, channels: int, div: int, direction: str) -> None:
    x = np.random.default_rng(0).normal(size=(2, frames, 2, 3, channels)).astype(np.float32)
    found = TemporalShift(direction, div).apply({}, x, jnp.ones((2, frames), bool))
    np.testing.assert_array_equal(found, shifted(x, direction, div))


@settings(max_examples=30)
@given(valid=st.lists(st.booleans(), min_size=1, max_size=6), direction=st.sampled_from(['bi', 'uni']))
def test_an_invalid_frame_is_shifted_as_zeros(valid: list[bool], direction: str) -> None:
    mask = np.array(valid)[None]
    x = np.random.default_rng(0).normal(size=(1, len(valid), 1, 2, 9)).astype(np.float32)
    silent = np.where(mask[..., None, None, None], x, 0)
    noisy = np.where(mask[..., None, None, None], x, np.nan)
    found = np.asarray(TemporalShift(direction, 3).apply({}, noisy, mask))
    np.testing.assert_array_equal(found[mask], shifted(silent, direction, 3)[mask])


def test_a_stream_goes_on_where_the_last_clip_ended() -> None:
    x = np.random.default_rng(0).normal(size=(2, 7, 2, 2, 9)).astype(np.float32)
    module, kept, found = TemporalShift('uni', 4), {}, []
    for part in np.split(x, [1, 2, 5], axis=1):
        y, kept = module.apply(kept, part, jnp.ones(part.shape[:2], bool), mutable=['stream'])
        found.append(y)
    assert kept['stream']['past'].shape == (2, 2, 2, 2)
    np.testing.assert_array_equal(np.concatenate(found, 1), shifted(x, 'uni', 4))
    with pytest.raises(UserError, match='other sizes'):
        module.apply(kept, x[:, :1, :1], jnp.ones((2, 1), bool), mutable=['stream'])


def test_initialising_keeps_no_stream() -> None:
    x = jnp.ones((1, 2, 1, 1, 8))
    assert not TemporalShift('uni').init(jax.random.key(0), x, jnp.ones((1, 2), bool))


@settings(max_examples=40)
@given(valid=st.lists(st.booleans(), min_size=1, max_size=7))
def test_temporal_pool_is_a_maximum_of_valid_frames(valid: list[bool]) -> None:
    time, mask = len(valid), np.array(valid)
    x = np.random.default_rng(0).normal(size=(1, time, 2, 1, 3)).astype(np.float32)
    found, kept = temporal_pool(jnp.where(mask[None, :, None, None, None], x, jnp.nan), mask[None])
    assert found.shape == (1, -(-time // 2), 2, 1, 3)
    for i in range(-(-time // 2)):
        window = [t for t in range(max(0, 2 * i - 1), min(time, 2 * i + 2)) if valid[t]]
        assert kept[0, i] == any(valid[2 * i:2 * i + 2])
        np.testing.assert_array_equal(found[0, i], x[0, window].max(0) if kept[0, i] else np.zeros((2, 1, 3)))


def test_invalid_frames_at_the_end_add_no_token() -> None:
    x = np.random.default_rng(0).normal(size=(1, 8, 1, 1, 2)).astype(np.float32)
    for time in range(1, 8):
        short, kept = temporal_pool(jnp.asarray(x[:, :time]), jnp.ones((1, time), bool))
        long, mask = temporal_pool(jnp.asarray(x), jnp.arange(8)[None] < time)
        assert kept.all()
        assert mask.sum() == kept.sum()
        np.testing.assert_array_equal(long[:, :short.shape[1]], short)


def attended(x: np.ndarray, params: Any, mode: str) -> np.ndarray:
    """What a non-local block adds, before its BatchNorm, to one clip (T, H, W, C) that is valid throughout."""
    def project(name: str, x: np.ndarray) -> np.ndarray:
        return x @ np.asarray(params[name]['kernel'])[0, 0] + np.asarray(params[name]['bias'])

    def pooled(x: np.ndarray) -> np.ndarray:
        t, h, w, c = x.shape
        return x[:, :h // 2 * 2, :w // 2 * 2].reshape(t, h // 2, 2, w // 2, 2, c).max((2, 4)).reshape(-1, c)

    queries, keys = (x, x) if mode == 'gaussian' else (project('theta', x), project('phi_0', x))
    scores = queries.reshape(-1, queries.shape[-1]) @ pooled(keys).T
    weights = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    weights = scores / scores.shape[1] if mode == 'dot_product' else weights
    return project('W_0', (weights @ pooled(project('g_0', x))).reshape(*x.shape[:3], -1))


@pytest.mark.parametrize('mode', ['embedded_gaussian', 'gaussian', 'dot_product'])
def test_non_local_block_attends_to_valid_frames_alone(mode: str) -> None:
    random = np.random.default_rng(0)
    x = random.normal(size=(3, 4, 5, 4, 6)).astype(np.float32)
    valid = np.arange(4) < np.array([4, 2, 0])[:, None]
    x[~valid] = 1e3
    block = NonLocal(mode, True, NORM, OPTIONS)
    variables = block.init(jax.random.key(0), x, valid, train=False)
    np.testing.assert_array_equal(block.apply(variables, x, valid, train=False), x)
    scale = jnp.asarray(random.uniform(1, 2, 6), jnp.float32)
    variables['params']['W_1']['scale'] = scale
    found = np.asarray(block.apply(variables, x, valid, train=False))
    assert np.isfinite(found).all()
    for row, count in ((0, 4), (1, 2)):
        expected = x[row, :count] + attended(x[row, :count], variables['params'], mode) * scale / np.sqrt(1 + 1e-5)
        np.testing.assert_allclose(found[row, :count], expected, rtol=1e-4, atol=1e-5)


def test_non_local_block_needs_a_picture() -> None:
    with pytest.raises(UserError, match='17 x 17'):
        NonLocal('gaussian', True, NORM, OPTIONS).init(jax.random.key(0), jnp.ones((1, 2, 1, 4, 2)),
                                                       jnp.ones((1, 2), bool), train=False)
