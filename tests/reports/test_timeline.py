import base64

import cv2
import numpy as np
import pytest

from vmmjax.media import flow
from vmmjax.reports import timeline


def decoded(source):
    encoded = np.frombuffer(base64.b64decode(source.partition(',')[2]), np.uint8)
    return cv2.imdecode(encoded, cv2.IMREAD_UNCHANGED)[..., :3][..., ::-1].astype(int)


def test_still_is_white_and_each_direction_has_its_colour():
    to = {'right': (1, 0), 'down': (0, 1), 'left': (-1, 0), 'up': (0, -1)}
    found = {name: timeline.colours(np.full((2, 2, 2), motion, np.float32), 1.0)[0, 0].tolist()
             for name, motion in to.items()}
    assert len({tuple(colour) for colour in found.values()}) == 4
    assert timeline.colours(np.zeros((2, 2, 2), np.float32), 1.0).min() == 255
    slow = timeline.colours(np.full((1, 1, 2), (0.5, 0), np.float32), 1.0)[0, 0]
    assert slow.min() > min(found['right'])


@pytest.mark.parametrize(('x', 'y'), [(1, 0), (0, 1), (-1, 0), (0, -1)])
def test_the_disc_has_at_each_place_the_colour_of_the_motion_to_it(x, y):
    disc = decoded(timeline.wheel())
    middle = len(disc) // 2
    at = disc[middle + round(0.8 * y * middle), middle + round(0.8 * x * middle)]
    expected = timeline.colours(np.full((1, 1, 2), (0.84 * x, 0.84 * y), np.float32), 1.0)[0, 0]
    np.testing.assert_allclose(at, expected, atol=12)


def test_all_pictures_of_a_clip_have_one_scale_of_motion():
    slow, fast = (flow.encode(np.full((8, 8, 2), (speed, 0), np.float32)) for speed in (2, 8))
    (first, gone, second), full = timeline.motions([slow, None, fast])
    assert full == pytest.approx(8, abs=0.2)
    assert gone is None
    assert decoded(first).min() > decoded(second).min() + 100


def test_noise_of_a_still_clip_stays_pale():
    noise = flow.encode(np.random.default_rng(0).normal(0, 0.1, (16, 16, 2)).astype(np.float32))
    (source,), _ = timeline.motions([noise])
    assert decoded(source).min() > 120


def test_a_spectrogram_has_time_to_the_right_and_the_first_value_at_the_bottom():
    frames = np.zeros((50, 8), np.float32)
    frames[40:, 1] = 1.0
    source, scale = timeline.spectrogram(frames)
    brightness = decoded(source).sum(axis=-1)
    assert brightness.shape == (8, 50)
    assert brightness[6, 45] > brightness[6, 10] + 300
    assert brightness[1, 45] == brightness[1, 10]
    assert scale == 'from 0.00 (dark) to 1.00 (bright)'


def test_values_of_other_sizes_are_each_on_their_own_scale():
    frames = np.random.default_rng(0).normal(size=(50, 4)).astype(np.float32) + np.array([-500, 0, 0, 3], np.float32)
    source, scale = timeline.spectrogram(frames)
    assert scale == 'each on its own scale'
    assert decoded(source).sum(axis=-1).std(axis=1).min() > 20


@pytest.mark.parametrize('value', [0.0, -3.0])
def test_a_constant_array_is_no_error(value):
    source, _ = timeline.spectrogram(np.full((1, 3), value, np.float32))
    assert decoded(source).shape == (3, 1, 3)


@pytest.mark.parametrize('count', [1, 899, 900, 16001, 128000])
def test_a_waveform_is_outlined_over_its_whole_length(count):
    samples = np.zeros(count, np.float32)
    samples[-1] = -0.5
    path, points, peak = timeline.waveform(samples)
    assert peak == 0.5
    assert points <= 900
    numbers = np.array([pair.split() for pair in path.strip('MZ').split('L')], float)
    assert numbers[:, 0].min() == 0
    assert numbers[:, 0].max() == points - 1
    assert numbers[numbers[:, 1].argmax(), 0] == points - 1  # The last sample, downwards.
    assert numbers[:, 1].max() == 1


def test_silence_is_a_line():
    path, _, peak = timeline.waveform(np.zeros(100, np.float32))
    assert peak == 0
    assert set(np.array([pair.split()[1] for pair in path.strip('MZ').split('L')], float)) == {0.0}
