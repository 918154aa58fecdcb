from functools import partial

import cv2
import jax
import numpy as np
import pytest

from vmmjax.ops import planes


@pytest.mark.parametrize('side', [3, 5])
def test_median_is_opencvs(side: int) -> None:
    x = np.random.default_rng(side).standard_normal((23, 17)).astype(np.float32)
    np.testing.assert_array_equal(jax.jit(partial(planes.median, side=side))(x), cv2.medianBlur(x, side))


def test_resizing_and_sampling_are_opencvs() -> None:
    rng = np.random.default_rng(0)
    x = (255 * rng.random((31, 44))).astype(np.float32)
    smaller = cv2.resize(x, None, fx=0.8, fy=0.8, interpolation=cv2.INTER_LINEAR)
    np.testing.assert_allclose(planes.resize(x, smaller.shape, (1.25, 1.25)), smaller, atol=1e-3)
    larger = cv2.resize(smaller, (44, 31), interpolation=cv2.INTER_LINEAR)
    factors = smaller.shape[0] / 31, smaller.shape[1] / 44
    np.testing.assert_allclose(planes.resize(smaller, (31, 44), factors), larger, atol=1e-3)
    # Up to far outside, where there are zeros.
    flow = [(15 * rng.standard_normal((31, 44))).astype(np.float32) for _ in range(2)]
    places = np.arange(44, dtype=np.float32) + flow[0], np.arange(31, dtype=np.float32)[:, None] + flow[1]
    sampled, = jax.jit(planes.sample)([planes.bordered(x)], tuple(flow))
    inside = np.abs(sampled) > 0
    assert 0.2 < inside.mean() < 0.8
    # OpenCV 4 rounds places to 1/32 pixel, 5 does not.
    tolerance = 1e-3 if int(cv2.__version__[0]) >= 5 else 20
    np.testing.assert_allclose(sampled, cv2.remap(x, *places, cv2.INTER_CUBIC), atol=tolerance)
