import cv2
import numpy as np

from vmmjax.media import flow
from vmmjax.reports import overlays


def test_a_film_shows_where_a_map_is_high_and_low_at_its_time():
    frames = np.full((4, 16, 32, 3), 128, np.uint8)
    maps = np.zeros((2, 2, 2))
    maps[1, 0, 0], maps[1, 1, 1] = 1, -1
    film = overlays.film(frames, {'gradients': maps})
    assert film.shape[0] == 4
    height, width = (film.shape[1] - 22), film.shape[2] // 2
    assert (height, width) == (224, 448)
    panel = film[:, 22:, width:].astype(int)
    np.testing.assert_array_equal(panel[:2], 128)  # The map's first half.
    red, blue = panel[2:, :40, :40].mean((0, 1, 2)), panel[2:, -40:, -40:].mean((0, 1, 2))
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    np.testing.assert_array_equal(film[:, 22:, :width], 128)


def test_motion_and_stacks_have_pictures_too():
    motion = flow.encode(np.full((3, 8, 8, 2), 2, np.float32))
    for frames in (motion, np.concatenate([motion] * 5, -1), np.zeros((3, 8, 8, 9), np.uint8)):
        assert overlays.film(frames, {}).shape == (3, 224 + 22, 224, 3)


def test_a_spectrum_has_its_lowest_band_at_the_bottom():
    frames = np.zeros((50, 8), np.float32)
    values = np.zeros((10, 4))
    values[0, 0] = 1.0  # At the beginning, low.
    picture = cv2.imdecode(np.frombuffer(overlays.spectrum(frames, values), np.uint8), cv2.IMREAD_COLOR).astype(int)
    high, wide, _ = picture.shape
    redness = picture[..., 2] - picture[..., 0]
    assert redness[3 * high // 4 + 2:, :wide // 20].min() > 50
    assert not redness[:high // 2].any()
    assert overlays.spectrum(frames) != overlays.spectrum(frames + np.arange(8))
