import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.pipeline.transforms import frames


def test_colour_zero_changes_nothing() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (6, 7, 3), np.uint8)
    changed = picture.copy()
    frames.colour(changed, frames.colour_matrices(np.random.default_rng(1).random((1, 3)), 0.0)[0])
    np.testing.assert_array_equal(changed, picture)


def test_colour_is_brightness_contrast_and_saturation_of_each_clip() -> None:
    pictures = np.random.default_rng(0).integers(0, 256, (4, 4, 5, 3), np.uint8)
    draws = np.array([[1, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0], [0.9, 0.2, 0.7]])
    out = pictures.copy()
    for picture, matrix in zip(out, frames.colour_matrices(draws, 0.5), strict=True):
        frames.colour(picture, matrix)
    values = pictures.astype(float)
    grey = (values @ [0.299, 0.587, 0.114])[..., None]
    expected = values.copy()
    expected[0] = 1.5 * values[0]
    expected[1] = 127.5 + 0.5 * (values[1] - 127.5)
    expected[2] = grey[2] + 0.5 * (values[2] - grey[2])
    saturated = grey[3] + 1.2 * (values[3] - grey[3])
    expected[3] = 1.4 * (127.5 + 0.7 * (saturated - 127.5))
    np.testing.assert_allclose(out.astype(float), np.clip(expected, 0, 255), atol=1)


@given(st.integers(0, 1000), st.integers(4, 300))
def test_what_is_erased_lies_inside_and_has_its_share(seed: int, size: int) -> None:
    boxes = frames.erased(np.random.default_rng(seed).random((200, 5)), 0.6, size)
    assert (boxes >= 0).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= size).all()
    there = boxes[:, 2:].all(axis=1)
    assert 0.4 < there.mean() < 0.8
    area = boxes[there, 2:].prod(axis=1) / size**2
    assert area.max() < 0.36 + 2 / size
    assert size < 50 or area.min() > 0.01


@given(st.integers(0, 1000), st.integers(1, 4))
def test_dropout_never_takes_the_last_stream(seed: int, streams: int) -> None:
    rng = np.random.default_rng(seed)
    present, rates = rng.random((50, streams)) < 0.7, rng.random(streams)
    stays = frames.drop_streams(present, rates, rng.random((50, streams + 1)))
    assert not (stays & ~present).any()
    np.testing.assert_array_equal(stays.any(axis=1), present.any(axis=1))


def test_dropout_has_its_rates() -> None:
    rng = np.random.default_rng(0)
    present = np.ones((20000, 2), bool)
    stays = frames.drop_streams(present, np.array([0.3, 0.0]), rng.random((20000, 3)))
    np.testing.assert_allclose(stays.mean(axis=0), [0.7, 1.0], atol=0.01)
    # Both would go: either stays, as likely.
    stays = frames.drop_streams(present, np.array([1.0, 1.0]), rng.random((20000, 3)))
    np.testing.assert_allclose(stays.mean(axis=0), [0.5, 0.5], atol=0.015)
