import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.data import augment


@given(height=st.integers(8, 60), width=st.integers(8, 60), size=st.integers(1, 8),
       place=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)))
def test_crops_lie_inside_the_picture(height: int, width: int, size: int, place: tuple[float, float]) -> None:
    corner = augment.crop_corners(np.array([place]), np.array([[height, width]]), size, (0, 0, 1, 1))[0]
    assert (corner >= 0).all()
    assert (corner + size <= (height, width)).all()


def test_crops_reach_every_place_of_their_region_and_no_other() -> None:
    places = np.random.default_rng(0).random((2000, 2))
    corners = augment.crop_corners(places, np.full((2000, 2), 40), 8, (0.5, 0.25, 1.0, 0.75))
    np.testing.assert_array_equal(np.unique(corners[:, 0]), np.arange(20, 33))
    np.testing.assert_array_equal(np.unique(corners[:, 1]), np.arange(10, 23))
    centre = augment.crop_corners(np.full((1, 2), 0.5), np.full((1, 2), 40), 8, (0, 0, 1, 1))
    np.testing.assert_array_equal(centre, [[16, 16]])


def test_colour_zero_changes_nothing() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (5, 6, 7, 3), np.uint8)
    matrices = augment.colour_matrices(np.random.default_rng(1).random((3, 3)), 0.0)
    np.testing.assert_array_equal(augment.colour(pictures, np.array([0, 0, 2, 2, 2]), matrices), pictures)


def test_colour_is_brightness_contrast_and_saturation_of_each_clip() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (6, 4, 5, 3), np.uint8)
    clips = np.array([0, 1, 1, 2, 3, 3])
    draws = np.array([[1, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0], [0.9, 0.2, 0.7]])
    out = augment.colour(pictures, clips, augment.colour_matrices(draws, 0.5)).astype(float)
    values = pictures.astype(float)
    grey = (values @ [0.299, 0.587, 0.114])[..., None]
    expected = values.copy()
    expected[0] = 1.5 * values[0]
    expected[1:3] = 127.5 + 0.5 * (values[1:3] - 127.5)
    expected[3] = grey[3] + 0.5 * (values[3] - grey[3])
    saturated = grey[4:] + 1.2 * (values[4:] - grey[4:])
    expected[4:] = 1.4 * (127.5 + 0.7 * (saturated - 127.5))
    np.testing.assert_allclose(out, np.clip(expected, 0, 255), atol=1)


def test_flip_mirrors_pictures_and_turns_horizontal_motion_round() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (3, 4, 5, 3), np.uint8)
    flips = np.array([True, False, True])
    out = augment.flip(pictures, flips, flow=False).numpy()
    np.testing.assert_array_equal(out[flips], pictures[flips][:, :, ::-1])
    np.testing.assert_array_equal(out[1], pictures[1])
    flow = pictures[..., :2]
    out = augment.flip(flow, flips, flow=True).numpy()
    np.testing.assert_array_equal(out[flips][..., 0], 255 - flow[flips][:, :, ::-1, 0])
    np.testing.assert_array_equal(out[flips][..., 1], flow[flips][:, :, ::-1, 1])
    np.testing.assert_array_equal(out[1], flow[1])


@given(st.integers(0, 1000), st.integers(1, 4))
def test_dropout_never_takes_the_last_stream(seed: int, streams: int) -> None:
    rng = np.random.default_rng(seed)
    present, rates = rng.random((50, streams)) < 0.7, rng.random(streams)
    stays = augment.drop_streams(present, rates, rng.random((50, streams + 1)))
    assert not (stays & ~present).any()
    np.testing.assert_array_equal(stays.any(axis=1), present.any(axis=1))


def test_dropout_has_its_rates() -> None:
    rng = np.random.default_rng(0)
    present = np.ones((20000, 2), bool)
    stays = augment.drop_streams(present, np.array([0.3, 0.0]), rng.random((20000, 3)))
    np.testing.assert_allclose(stays.mean(axis=0), [0.7, 1.0], atol=0.01)
    # Both would go: either stays, as likely.
    stays = augment.drop_streams(present, np.array([1.0, 1.0]), rng.random((20000, 3)))
    np.testing.assert_allclose(stays.mean(axis=0), [0.5, 0.5], atol=0.015)
