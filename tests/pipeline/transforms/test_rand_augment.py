import cv2
import numpy as np
import pytest

from vmmjax.pipeline.transforms import rand_augment
from vmmjax.pipeline.transforms.rand_augment import Op

RNG = np.random.default_rng(0)
PICTURE = cv2.GaussianBlur(RNG.integers(0, 256, (48, 48, 3), np.uint8), (0, 0), 2)


def test_every_change_is_drawn_and_as_many_as_asked() -> None:
    drawn = rand_augment.draw_ops(RNG.random((500, 6)), 3, 5)
    assert {len(ops) for ops in drawn} == {3}
    assert {op.name for ops in drawn for op in ops} == {'identity', *rand_augment.COLOURS, *rand_augment.PLACES}
    assert {op.strength for ops in drawn for op in ops} == {-0.5, 0.5}


@pytest.mark.parametrize('name', ['colour', 'contrast', 'brightness', 'sharpness', 'posterize', 'solarize',
                                  *rand_augment.PLACES])
def test_a_change_without_strength_changes_nothing(name: str) -> None:
    np.testing.assert_array_equal(rand_augment.apply(PICTURE, [Op(name, 0.0)]), PICTURE)


@pytest.mark.parametrize('name', [*rand_augment.COLOURS, *rand_augment.PLACES])
def test_a_strong_change_changes_pictures_and_colours_leave_motion_alone(name: str) -> None:
    changed = rand_augment.apply(PICTURE, [Op(name, 0.9)])
    assert changed.shape == PICTURE.shape
    assert changed.dtype == np.uint8
    assert (changed != PICTURE).any()
    motion = np.ascontiguousarray(PICTURE[..., :2])
    assert (name in rand_augment.PLACES) == (rand_augment.apply(motion, [Op(name, 0.9)]) != motion).any()


@pytest.mark.parametrize('name', list(rand_augment.PLACES))
def test_motion_is_turned_and_stretched_with_the_picture(name: str) -> None:
    # Points that move by `motion` before the change move by `matrix @ motion` after it.
    motion = np.array([6.0, -3.0])
    codes = np.broadcast_to(np.rint((motion + 20) * 255 / 40).astype(np.uint8), (48, 48, 2))
    changed = rand_augment.apply(np.ascontiguousarray(codes), [Op(name, 0.7)])
    matrix = rand_augment.PLACES[name](0.7, 48)
    moved = np.zeros((48, 48), np.uint8)
    cv2.circle(moved, (24, 24), 3, 255, -1)
    spot = rand_augment.apply(np.repeat(moved[..., None], 3, axis=2), [Op(name, 0.7)])[..., 0]
    row, column = np.unravel_index(spot.argmax(), spot.shape)
    np.testing.assert_allclose(changed[row, column] * (40 / 255) - 20, matrix[:, :2] @ motion, atol=0.25)


def test_a_turned_pattern_moves_where_its_turned_motion_says() -> None:
    step = np.array([[1.0, 0, 3], [0, 1, 0]])  # 3 pixels to the right.
    second = cv2.warpAffine(PICTURE, step, (48, 48), borderMode=cv2.BORDER_REFLECT)
    turn = [Op('rotate', 0.8)]
    codes = np.ascontiguousarray(np.broadcast_to(np.rint((np.array([3.0, 0]) + 20) * 255 / 40).astype(np.uint8),
                                                 (48, 48, 2)))
    motion = rand_augment.apply(codes, turn)[24, 24] * (40 / 255) - 20
    first, second = (rand_augment.apply(picture, turn).astype(np.float32) for picture in (PICTURE, second))
    along = cv2.warpAffine(first, np.array([[1.0, 0, motion[0]], [0, 1, motion[1]]]), (48, 48))
    inner = slice(14, 34), slice(14, 34)
    assert abs(along[inner] - second[inner]).mean() < 0.3 * abs(first[inner] - second[inner]).mean()
