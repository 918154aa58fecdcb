import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.media import flow
from vmmjax.pipeline.transforms import crops

WHOLE = (0.0, 0.0, 1.0, 1.0)


@given(height=st.integers(8, 60), width=st.integers(8, 60), size=st.integers(1, 8),
       place=st.tuples(st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True)))
def test_crops_lie_inside_the_picture(height: int, width: int, size: int, place: tuple[float, float]) -> None:
    box = crops.at(np.array([place]), np.array([[height, width]]), size, WHOLE)[0]
    assert (box[:2] >= 0).all()
    assert (box[:2] + box[2:] <= (height, width)).all()
    np.testing.assert_array_equal(box[2:], size)


def test_crops_reach_every_place_of_their_region_and_no_other() -> None:
    places = np.random.default_rng(0).random((2000, 2))
    boxes = crops.at(places, np.full((2000, 2), 40), 8, (0.5, 0.25, 1.0, 0.75))
    np.testing.assert_array_equal(np.unique(boxes[:, 0]), np.arange(20, 33))
    np.testing.assert_array_equal(np.unique(boxes[:, 1]), np.arange(10, 23))
    centre = crops.at(np.full((1, 2), 0.5), np.full((1, 2), 40), 8, WHOLE)
    np.testing.assert_array_equal(centre, [[16, 16, 8, 8]])


@pytest.mark.parametrize('kind', ['multi_scale', 'resized'])
@given(seed=st.integers(0, 1000), height=st.integers(30, 400), width=st.integers(30, 400))
def test_crops_of_other_sizes_lie_inside_their_region(kind: str, seed: int, height: int, width: int) -> None:
    draws, boxes_of = crops.CROPS[kind]
    sizes = np.tile([height, width], (50, 1))
    region = (0.1, 0.2, 0.9, 1.0)
    low, high = crops.region_bounds(sizes, region)
    boxes = boxes_of(np.random.default_rng(seed).random((50, draws)), sizes, 24, region)
    assert (boxes[:, 2:] > 0).all()
    assert (boxes[:, :2] >= low).all()
    assert (boxes[:, :2] + boxes[:, 2:] <= high).all()


def test_multi_scale_crops_are_the_published_ones() -> None:
    draws = np.random.default_rng(0).random((4000, 2))
    boxes = crops.multi_scale(draws, np.tile([256, 340], (4000, 1)), 224, WHOLE)
    assert set(boxes[:, 2]) == set(boxes[:, 3]) == {256, 224, 192, 168}
    steps = {256: 0, 224: 1, 192: 2, 168: 3}
    assert {abs(steps[h] - steps[w]) for h, w in boxes[:, 2:].tolist()} == {0, 1}
    square = boxes[(boxes[:, 2] == 224) & (boxes[:, 3] == 224)]
    # A quarter of the room is 8 rows or 29 columns.
    assert {(top, left) for top, left in square[:, :2].tolist()} == {
        (0, 0), (0, 116), (32, 0), (32, 116), (16, 58), (0, 58), (16, 116), (32, 58), (16, 0), (8, 29), (8, 87),
        (24, 29), (24, 87)}
    snapped = crops.multi_scale(draws, np.tile([258, 340], (4000, 1)), 224, WHOLE)
    assert 224 in snapped[:, 2]
    assert 225 not in snapped[:, 2]


def test_resized_crops_have_the_published_shares_and_ratios() -> None:
    boxes = crops.resized(np.random.default_rng(0).random((5000, 22)), np.tile([256, 340], (5000, 1)), 224, WHOLE)
    area, ratio = boxes[:, 2:].prod(axis=1) / (256 * 340), boxes[:, 3] / boxes[:, 2]
    assert 0.07 < area.min() < 0.1
    assert area.max() > 0.9
    assert ratio.min() > 0.73
    assert ratio.max() < 1.36
    # None of the ten fits: what torchvision falls back on.
    tight = np.zeros((1, 22))
    tight[:, :10] = 0.999
    tight[:, 10:20] = 0.999
    np.testing.assert_array_equal(crops.resized(tight, np.array([[100, 400]]), 9, WHOLE)[0, 2:], [100, 133])


def test_views_are_the_ends_and_the_middle_of_the_long_side_or_corners_and_centre() -> None:
    def boxes(count: int, height: int, width: int) -> tuple[list[list[int]], list[bool]]:
        sizes = np.tile([height, width], (count, 1))
        places, mirrors = crops.view_places(np.arange(count), count, sizes)
        return crops.at(places, sizes, 40, WHOLE)[:, :2].tolist(), mirrors.tolist()

    assert boxes(1, 40, 60) == ([[0, 10]], [False])
    assert boxes(3, 40, 60) == ([[0, 0], [0, 20], [0, 10]], [False] * 3)
    assert boxes(3, 60, 40) == ([[0, 0], [20, 0], [10, 0]], [False] * 3)
    five = [[0, 0], [0, 20], [10, 0], [10, 20], [5, 10]]
    assert boxes(5, 50, 60) == (five, [False] * 5)
    assert boxes(10, 50, 60) == (five * 2, [False] * 5 + [True] * 5)


@pytest.mark.parametrize('mirror', [False, True])
@pytest.mark.parametrize('box', [(3, 5, 16, 16), (2, 4, 20, 11), (0, 0, 40, 48)])
def test_a_cut_picture_is_the_part_resized_and_mirrored(box: tuple[int, int, int, int], mirror: bool) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 48, 3), np.uint8)
    out = np.zeros((16, 16, 3), np.uint8)
    crops.cut(picture, np.array(box), mirror, out)
    top, left, height, width = box
    how = cv2.INTER_AREA if min(height, width) >= 32 else cv2.INTER_LINEAR
    expected = cv2.resize(picture[top:top + height, left:left + width], (16, 16), interpolation=how)
    np.testing.assert_array_equal(out, expected[:, ::-1] if mirror else expected)


@given(x=st.floats(-6, 6), y=st.floats(-6, 6), height=st.integers(16, 60), width=st.integers(16, 60),
       mirror=st.booleans())
def test_motion_scales_with_its_picture_and_turns_round_in_a_mirror(x: float, y: float, height: int, width: int,
                                                                    mirror: bool) -> None:
    codes = flow.encode(np.broadcast_to(np.array([x, y], np.float32), (60, 60, 2)))
    out = np.zeros((32, 32, 2), np.uint8)
    beside = np.concatenate([codes[..., 0], codes[..., 1]], axis=1)
    crops.cut_flow(beside, np.array([0, 0, height, width]), mirror, out)
    found = out * (40 / 255) - 20
    factors = np.array([32 / width, 32 / height])
    expected = np.array([-x if mirror else x, y]) * factors
    # The stored code is half a step off at most, and so is the new one.
    assert (abs(found - expected) <= 20 / 255 * (1 + factors) + 1e-6).all()


def test_no_motion_stays_none_up_to_twice_the_size() -> None:
    code = flow.encode(np.zeros(1))[0]
    for side in range(16, 61):
        out = np.zeros((32, 32, 2), np.uint8)
        crops.cut_flow(np.full((60, 120), code), np.array([0, 0, side, side]), False, out)
        np.testing.assert_array_equal(out, code)


def test_a_pattern_that_moves_gives_the_same_motion_before_and_after_resizing() -> None:
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (160, 160)).astype(np.float32), (0, 0), 3)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    first, second = texture[20:116, 20:116], texture[18:114, 16:112]  # 4 to the right, 2 down.
    motion = flow.motion(np.repeat(np.stack([first, second])[..., None], 3, axis=3), flow.dis)[0]
    codes = flow.encode(motion)
    resized = np.zeros((48, 48, 2), np.uint8)
    crops.cut_flow(np.concatenate([codes[..., 0], codes[..., 1]], axis=1), np.array([0, 0, 96, 96]), False, resized)
    small = np.stack([cv2.resize(picture, (48, 48), interpolation=cv2.INTER_AREA) for picture in (first, second)])
    direct = flow.motion(np.repeat(small[..., None], 3, axis=3), flow.dis)[0]
    inner = slice(8, -8), slice(8, -8)
    np.testing.assert_allclose(np.median(resized[inner] * (40 / 255) - 20, axis=(0, 1)), [2, 1], atol=0.15)
    np.testing.assert_allclose(np.median(resized[inner] * (40 / 255) - 20 - direct[inner], axis=(0, 1)), 0, atol=0.2)
