"""Where pictures are cut, and the cutting: one box a clip, for all its frames.

Boxes are int64 (B, 4): top, left, height, width in pixels of the stored picture. Draws are uniform numbers, see
`sampling.uniform`; all picture streams of a clip are given the same, so that they see the same place.
"""

import itertools
from collections.abc import Callable, Mapping

import cv2
import numpy as np

Region = tuple[float, float, float, float]

# Published multi-scale crops (Wang et al. 2016, TSN): sides as shares of the short side, both within one step.
_SCALES = (1.0, 0.875, 0.75, 0.66)
_PAIRS = [(i, j) for i, j in itertools.product(range(len(_SCALES)), repeat=2) if abs(i - j) <= 1]
_SNAP = 3  # Pixels; a side that is nearly that of the crop needs no resizing.
# Thirteen places, in quarters of the room: corners and centre, middles of the sides, and of the quarters.
_PLACES = [(0, 0), (0, 4), (4, 0), (4, 4), (2, 2), (0, 2), (2, 4), (4, 2), (2, 0), (1, 1), (1, 3), (3, 1), (3, 3)]

# Random resized crops (Szegedy et al. 2015): share of the area, and width over height.
_AREA, _RATIO, _ATTEMPTS = (0.08, 1.0), (3 / 4, 4 / 3), 10

_END = np.nextafter(1.0, 0.0)  # The last place: a draw is below 1.
_FLOW_CENTRE = 127.5  # The code between motion to the left and to the right.


def region_bounds(sizes: np.ndarray, region: Region) -> tuple[np.ndarray, np.ndarray]:
    """First pixels and ends, int64 (B, 2) each, of a region given in fractions of pictures of `sizes` (B, 2)."""
    bounds = np.asarray(region, np.float64)
    return (np.ceil(bounds[:2] * sizes - 1e-6).astype(np.int64),
            np.floor(bounds[2:] * sizes + 1e-6).astype(np.int64))


def at(places: np.ndarray, sizes: np.ndarray, size: int, region: Region) -> np.ndarray:
    """Square boxes of `size` pixels inside a region.

    Args:
      places: float64 (B, 2) in [0, 1), down and across; 0.5 is the centre.
      sizes: int64 (B, 2), heights and widths of the stored pictures.
      size: side in pixels.
      region: top, left, bottom, right as fractions of the picture.

    Returns:
      int64 (B, 4).
    """
    low, high = region_bounds(sizes, region)
    corners = low + np.floor(places * (high - low - size + 1)).astype(np.int64)
    return np.concatenate([corners, np.full_like(corners, size)], axis=1)


def multi_scale(draws: np.ndarray, sizes: np.ndarray, size: int, region: Region) -> np.ndarray:
    """Sides of 1, .875, .75 or .66 of the short side, at one of 13 places (TSN, TSM).

    Takes the arguments of `at`; draws float64 (B, 2) choose the sides and the place.
    """
    low, high = region_bounds(sizes, region)
    sides = np.floor((high - low).min(axis=1, keepdims=True) * np.array(_SCALES)).astype(np.int64)
    sides = np.where(abs(sides - size) < _SNAP, size, sides)
    pairs = np.array(_PAIRS)[np.floor(draws[:, 0] * len(_PAIRS)).astype(np.int64)]
    shape = np.minimum(np.take_along_axis(sides, pairs, axis=1), high - low)
    quarters = np.array(_PLACES)[np.floor(draws[:, 1] * len(_PLACES)).astype(np.int64)]
    return np.concatenate([low + quarters * ((high - low - shape) // 4), shape], axis=1)


def resized(draws: np.ndarray, sizes: np.ndarray, size: int, region: Region) -> np.ndarray:
    """Boxes of .08 to 1 of the area and of 3:4 to 4:3: the first of ten draws that fits, else the largest that would.

    Takes the arguments of `at`; draws float64 (B, 22): ten areas, ten ratios, place down and across.
    """
    del size
    low, high = region_bounds(sizes, region)
    room = (high - low).astype(np.float64)[:, None]
    area = room.prod(axis=2) * (_AREA[0] + draws[:, :_ATTEMPTS] * (_AREA[1] - _AREA[0]))
    ratio = np.exp(np.log(_RATIO[0]) + draws[:, _ATTEMPTS:2 * _ATTEMPTS] * np.log(_RATIO[1] / _RATIO[0]))
    shapes = np.rint(np.sqrt(np.stack([area / ratio, area * ratio], axis=2)))
    # The last resort, as torchvision's: as much as the ratio's bounds let one take.
    height, width = room[:, 0].T
    largest = np.stack([np.minimum(height, np.rint(width / _RATIO[0])),
                        np.minimum(width, np.rint(height * _RATIO[1]))], axis=1)
    shapes = np.concatenate([shapes, largest[:, None]], axis=1)
    fits = ((shapes >= 1) & (shapes <= room)).all(axis=2)
    fits[:, -1] = True
    shape = np.maximum(shapes[np.arange(len(shapes)), fits.argmax(axis=1)], 1).astype(np.int64)
    places = draws[:, 2 * _ATTEMPTS:]
    return np.concatenate([low + np.floor(places * (high - low - shape + 1)).astype(np.int64), shape], axis=1)


CROPS: Mapping[str, tuple[int, Callable[[np.ndarray, np.ndarray, int, Region], np.ndarray]]] = {
    'random': (2, at), 'multi_scale': (2, multi_scale), 'resized': (2 * _ATTEMPTS + 2, resized)}
"""Crops of training: how many draws a clip, and the boxes from them; beside them there is `centre`."""


def view_places(views: np.ndarray, crops: int, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Places of the crops of test views.

    Args:
      views: int64 (B,) in [0, crops), which of them.
      crops: 1, the centre; 3, the two ends and the middle of the long side; 5, the corners and the centre; 10, these
        and their mirror images.
      sizes: int64 (B, 2), heights and widths of the stored pictures.

    Returns:
      Places for `at`, and bool (B,), which are mirrored.
    """
    if crops == 3:
        places = np.full((len(views), 2), 0.5)
        long = (sizes[:, 1] >= sizes[:, 0]).astype(np.int64)
        places[np.arange(len(views)), long] = np.array([0.0, _END, 0.5])[views]
        return places, np.zeros(len(views), bool)
    five = np.array([(0, 0), (0, _END), (_END, 0), (_END, _END), (0.5, 0.5)])
    return five[views % 5] if crops > 1 else np.full((len(views), 2), 0.5), views >= 5


def cut(picture: np.ndarray, box: np.ndarray, mirror: bool, out: np.ndarray) -> None:
    """Cuts a picture, resizes what is cut where the box has another size, and mirrors it left and right.

    Args:
      picture: uint8 (H, W, 3).
      box: top, left, height, width.
      mirror: whether it is mirrored.
      out: uint8 (size, size, 3), contiguous; it is written to.
    """
    part = _part(picture, box)
    if part.shape == out.shape:
        if mirror:
            cv2.flip(part, 1, dst=out)
        else:
            out[:] = part
    elif mirror:
        cv2.flip(_resize(part, out.shape[0]), 1, dst=out)
    else:
        _resize(part, out.shape[0], out)


def cut_flow(codes: np.ndarray, box: np.ndarray, mirror: bool, out: np.ndarray) -> None:
    """As `cut`, for motion: displacements grow and shrink with the picture, a mirror turns the horizontal ones round.

    Args:
      codes: uint8 (H, 2 * W): the codes of horizontal motion beside those of vertical motion, see `media.flow.encode`.
      box: top, left, height, width.
      mirror: whether it is mirrored.
      out: uint8 (size, size, 2); it is written to.
    """
    size, width = out.shape[0], codes.shape[1] // 2
    for channel, side in enumerate((box[3], box[2])):
        part = _part(codes[:, channel * width:(channel + 1) * width], box)
        if part.shape != (size, size):
            exact = _resize(part.astype(np.float32), size)
            exact = (exact - _FLOW_CENTRE) * np.float32(size / side) + _FLOW_CENTRE
            part = np.rint(np.clip(exact, 0, 255)).astype(np.uint8)
        if mirror:
            part = 255 - part[:, ::-1] if channel == 0 else part[:, ::-1]
        out[..., channel] = part


def _part(picture: np.ndarray, box: np.ndarray) -> np.ndarray:
    top, left, height, width = box
    return picture[top:top + height, left:left + width]


def _resize(part: np.ndarray, size: int, out: np.ndarray | None = None) -> np.ndarray:
    """Between pixels; where two or more become one, their mean, so that fine patterns do not turn into others."""
    how = cv2.INTER_AREA if min(part.shape[:2]) >= 2 * size else cv2.INTER_LINEAR
    return cv2.resize(part, (size, size), dst=out, interpolation=how)
