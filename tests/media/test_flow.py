import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.errors import UserError
from vmmjax.media.flow import ALGORITHMS, Algorithm, decode, encode, farneback, motion, resize

every_algorithm = pytest.mark.parametrize('algorithm', ALGORITHMS.values(), ids=ALGORITHMS)


def _moving(count: int) -> np.ndarray:
    """Pictures of a texture that goes 3 pixels to the right and 2 down a frame."""
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 256, (20, 20, 3), np.uint8), (160, 160), interpolation=cv2.INTER_CUBIC)
    return np.stack([texture[40 - 2 * t:104 - 2 * t, 40 - 3 * t:104 - 3 * t] for t in range(count)])


@every_algorithm
def test_motion_to_the_right_and_down(algorithm: Algorithm) -> None:
    flow = motion(_moving(4), algorithm)
    assert flow.shape == (4, 64, 64, 2)
    assert flow.dtype == np.float32
    assert np.abs(np.median(flow[:, 16:48, 16:48], axis=(0, 1, 2)) - [3, 2]).max() < 0.3
    np.testing.assert_array_equal(flow[3], flow[2])


@every_algorithm
def test_still_and_single_pictures(algorithm: Algorithm) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    assert motion(picture, algorithm).shape == (1, 32, 32, 2)
    assert not motion(picture, algorithm).any()
    assert motion(picture[:0], algorithm).shape == (0, 32, 32, 2)
    still = encode(motion(np.repeat(picture, 3, 0), algorithm))
    assert set(np.unique(still)) <= {127, 128}
    assert np.abs(decode(still)).max() <= 0.5 * 40 / 255 + 1e-6


@every_algorithm
@pytest.mark.parametrize('size', [(16, 16), (24, 40), (64, 64)])
def test_black_pictures_and_cuts_give_numbers(algorithm: Algorithm, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (2, *size, 3), np.uint8)
    black = np.zeros_like(noise)
    flow = motion(np.concatenate([black, noise, black]), algorithm)
    assert np.isfinite(flow).all()
    assert np.abs(flow[0]).max() == 0


def test_pictures_too_small_for_an_algorithm_are_named() -> None:
    with pytest.raises(UserError, match='4 x 6 pixels'):
        motion(np.zeros((2, 6, 4, 3), np.uint8), ALGORITHMS['dis'])


def test_a_resize_scales_the_displacements() -> None:
    flow = np.broadcast_to(np.float32([6, -3]), (2, 48, 60, 2))
    smaller = resize(flow, width=20, height=24)
    assert smaller.shape == (2, 24, 20, 2)
    np.testing.assert_allclose(smaller, np.broadcast_to([2, -1.5], smaller.shape), rtol=1e-6)
    larger = resize(flow, width=120, height=48)
    np.testing.assert_allclose(larger, np.broadcast_to([12, -3], larger.shape), rtol=1e-6)


def test_flow_of_resized_pictures_is_resized_flow() -> None:
    frames = _moving(3)
    half = np.stack([cv2.resize(frame, (32, 32), interpolation=cv2.INTER_AREA) for frame in frames])
    before, after = motion(half, farneback), resize(motion(frames, farneback), width=32, height=32)
    assert np.abs(np.median((before - after)[:, 8:24, 8:24], axis=(0, 1, 2))).max() < 0.2


@given(st.floats(-40, 40))
def test_the_code_is_right_to_half_a_step(value: float) -> None:
    flow = np.array([value], np.float32)
    assert np.abs(decode(encode(flow)) - np.clip(flow, -20, 20)).max() <= 0.5 * 40 / 255 + 1e-5


def test_every_code_comes_back_and_mirrors() -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(encode(decode(codes)), codes)
    np.testing.assert_allclose(decode(255 - codes), -decode(codes), atol=1e-5)
