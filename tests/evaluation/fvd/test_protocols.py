import math

import jax
import numpy as np
import pytest

from vmmjax.evaluation.fvd.protocols import bilinear, resized


def pictures(height, width, frames=2):
    return np.random.default_rng(height).integers(0, 256, (frames, height, width, 3), np.uint8)


def by_jax(clip, height, width, antialias=False):
    return np.asarray(jax.image.resize(clip.astype(np.float32), (len(clip), height, width, 3), 'linear', antialias))


def test_tensorflow_1_mapped_corners_and_everybody_else_centres():
    np.testing.assert_allclose(bilinear(2, 4, half_pixel=False) @ [0, 1], [0, 0.5, 1, 1])
    np.testing.assert_allclose(bilinear(2, 4) @ [0, 1], [0, 0.25, 0.75, 1])
    np.testing.assert_allclose(bilinear(6, 2, half_pixel=False) @ np.arange(6), [0, 3])
    np.testing.assert_allclose(bilinear(6, 2) @ np.arange(6), [1, 4])
    np.testing.assert_allclose(bilinear(4, 2, antialias=True)[0] * 8, [3, 3, 1, 0] / np.array(7) * 8)


@pytest.mark.parametrize(('height', 'width'), [(64, 64), (240, 320), (300, 203)])
def test_pictures_are_squashed_as_by_jax(height, width):
    clip = pictures(height, width)
    np.testing.assert_allclose(resized(clip, 'squash'), by_jax(clip, 224, 224) / 127.5 - 1, atol=2e-4)


@pytest.mark.parametrize(('height', 'width'), [(64, 64), (240, 321), (300, 203)])
def test_the_middle_is_what_is_seen_of_pictures_that_are_not_square(height, width):
    clip = pictures(height, width)
    scale = 224 / min(height, width)
    whole = by_jax(clip, *(224 if size == min(height, width) else math.ceil(size * scale) for size in (height, width)))
    top, left = ((size - 224) // 2 for size in whole.shape[1:3])
    expected = whole[:, top:top + 224, left:left + 224] / 127.5 - 1
    np.testing.assert_allclose(resized(clip, 'crop'), expected, atol=2e-4)


def test_files_are_brought_to_whole_numbers_at_256_first():
    clip = pictures(512, 640)
    left = (320 - 256) // 2
    small = by_jax(clip, 256, 320, antialias=True)[:, :, left:left + 256].astype(np.uint8)
    expected = by_jax(small, 224, 224) / 127.5 - 1
    # Here and there a number that is nearly whole is cut off the other way.
    assert np.mean(np.abs(resized(clip, 'antialias') - expected) > 2e-4) < 1e-3


@pytest.mark.parametrize('resize', ['tf1', 'squash', 'crop', 'antialias'])
def test_black_and_white_stay_so(resize):
    for value, seen in ((0, -1), (255, 1)):
        clip = np.full((1, 70, 90, 3), value, np.uint8)
        np.testing.assert_allclose(resized(clip, resize), np.full((1, 224, 224, 3), seen), atol=1e-6)
