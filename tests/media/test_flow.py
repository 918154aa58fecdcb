import cv2
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.media.flow import decode, encode, farneback


def test_motion_to_the_right_and_down():
    rng = np.random.default_rng(0)
    texture = cv2.resize(rng.integers(0, 256, (20, 20, 3), np.uint8), (160, 160), interpolation=cv2.INTER_CUBIC)
    frames = np.stack([texture[40 - 2 * t:104 - 2 * t, 40 - 3 * t:104 - 3 * t] for t in range(4)])
    flow = farneback(frames)
    assert flow.shape == (4, 64, 64, 2)
    assert flow.dtype == np.float32
    assert np.abs(np.median(flow[:, 16:48, 16:48], axis=(0, 1, 2)) - [3, 2]).max() < 0.3
    np.testing.assert_array_equal(flow[3], flow[2])


def test_still_and_single_pictures():
    picture = np.random.default_rng(0).integers(0, 256, (1, 32, 32, 3), np.uint8)
    assert farneback(picture).shape == (1, 32, 32, 2)
    assert not farneback(picture).any()
    still = encode(farneback(np.repeat(picture, 3, 0)))
    assert set(np.unique(still)) <= {127, 128}
    assert np.abs(decode(still)).max() <= 0.5 * 40 / 255 + 1e-6


@given(st.floats(-40, 40))
def test_the_code_is_right_to_half_a_step(value):
    flow = np.array([value], np.float32)
    assert np.abs(decode(encode(flow)) - np.clip(flow, -20, 20)).max() <= 0.5 * 40 / 255 + 1e-5


def test_every_code_comes_back_and_mirrors():
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(encode(decode(codes)), codes)
    np.testing.assert_allclose(decode(255 - codes), -decode(codes), atol=1e-5)
