"""RandAugment (Cubuk et al. 2020): a few changes of one strength, drawn for a clip and the same in all its frames.

Changes of place turn and stretch motion with the picture; changes of colour leave it alone.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

_STRONGEST = 10  # The paper's scale of strengths.
_GREY = 128  # What lies outside a picture that was moved; in the code of motion it is none.
_FLOW_CENTRE = 127.5


@dataclasses.dataclass(frozen=True)
class Op:
    """One change.

    Attributes:
      name: a key of `COLOURS` or `PLACES`, or `identity`.
      strength: -1 to 1; changes without a direction take its magnitude.
    """

    name: str
    strength: float


def draw_ops(draws: np.ndarray, count: int, magnitude: float) -> list[tuple[Op, ...]]:
    """The changes of each clip.

    Args:
      draws: float64 (B, 2 * count) in [0, 1): which changes, and their directions.
      count: changes a clip.
      magnitude: their strength, 0 to 10.

    Returns:
      `count` changes for each.
    """
    names = ['identity', *COLOURS, *PLACES]
    strength = magnitude / _STRONGEST
    return [tuple(Op(names[int(which * len(names))], strength if way < 0.5 else -strength)
                  for which, way in zip(row[:count], row[count:], strict=True)) for row in draws]


def apply(frame: np.ndarray, ops: Sequence[Op]) -> np.ndarray:
    """A changed frame.

    Args:
      frame: uint8 (S, S, 3), a picture, or (S, S, 2), codes of motion.
      ops: the clip's.

    Returns:
      uint8, of the same shape.
    """
    for op in ops:
        if op.name in PLACES:
            frame = _move(frame, PLACES[op.name](op.strength, frame.shape[0]))
        elif op.name in COLOURS and frame.shape[2] == 3:
            frame = COLOURS[op.name](frame, op.strength)
    return frame


def _move(frame: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Maps the point p of a frame to matrix[:, :2] @ p + matrix[:, 2], from the frame's centre, in pixels."""
    centre = (frame.shape[0] - 1) / 2
    around = matrix.copy()
    around[:, 2] += centre - matrix[:, :2] @ np.full(2, centre)
    moved = cv2.warpAffine(frame, around, frame.shape[1::-1], flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT,
                           borderValue=(_GREY,) * frame.shape[2])
    if frame.shape[2] == 2:
        motion = (moved.astype(np.float32) - _FLOW_CENTRE) @ matrix[:, :2].T.astype(np.float32)
        return np.rint(np.clip(motion + _FLOW_CENTRE, 0, 255)).astype(np.uint8)
    return moved


def _rotate(strength: float, size: int) -> np.ndarray:
    del size
    angle = np.deg2rad(30 * strength)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0]])


def _shear_x(strength: float, size: int) -> np.ndarray:
    del size
    return np.array([[1, 0.3 * strength, 0], [0, 1, 0]])


def _shear_y(strength: float, size: int) -> np.ndarray:
    del size
    return np.array([[1, 0, 0], [0.3 * strength, 1, 0]])


def _translate_x(strength: float, size: int) -> np.ndarray:
    return np.array([[1, 0, 0.45 * strength * size], [0, 1, 0]])


def _translate_y(strength: float, size: int) -> np.ndarray:
    return np.array([[1, 0, 0], [0, 1, 0.45 * strength * size]])


def _blend(frame: np.ndarray, other: np.ndarray, strength: float) -> np.ndarray:
    """From `other`, at a factor of .1, over the frame itself at 1, to away from it at 1.9."""
    factor = 1 + 0.9 * strength
    return cv2.addWeighted(frame, factor, other, 1 - factor, 0)


def _grey(frame: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)


def _autocontrast(frame: np.ndarray, strength: float) -> np.ndarray:
    del strength
    low, high = frame.min(axis=(0, 1)).astype(float), frame.max(axis=(0, 1)).astype(float)
    scale = np.where(high > low, 255 / np.maximum(high - low, 1), 1)
    table = np.rint((np.arange(256)[:, None] - np.where(high > low, low, 0)) * scale)
    return cv2.LUT(frame, table.clip(0, 255).astype(np.uint8)[None])


def _equalize(frame: np.ndarray, strength: float) -> np.ndarray:
    del strength
    return cv2.merge([cv2.equalizeHist(channel) for channel in cv2.split(frame)])


def _solarize(frame: np.ndarray, strength: float) -> np.ndarray:
    threshold = 256 * (1 - abs(strength))
    levels = np.arange(256)
    return cv2.LUT(frame, np.where(levels < threshold, levels, 255 - levels).astype(np.uint8))


def _posterize(frame: np.ndarray, strength: float) -> np.ndarray:
    dropped = round(4 * abs(strength))  # Bits: four are left at the strongest.
    return cv2.LUT(frame, (np.arange(256) >> dropped << dropped).astype(np.uint8))


def _colour(frame: np.ndarray, strength: float) -> np.ndarray:
    return _blend(frame, cv2.cvtColor(_grey(frame), cv2.COLOR_GRAY2RGB), strength)


def _contrast(frame: np.ndarray, strength: float) -> np.ndarray:
    return _blend(frame, np.full_like(frame, round(float(_grey(frame).mean()))), strength)


def _brightness(frame: np.ndarray, strength: float) -> np.ndarray:
    return _blend(frame, np.zeros_like(frame), strength)


def _sharpness(frame: np.ndarray, strength: float) -> np.ndarray:
    kernel = np.array([[1, 1, 1], [1, 5, 1], [1, 1, 1]], np.float32) / 13
    return _blend(frame, cv2.filter2D(frame, -1, kernel), strength)


COLOURS: Mapping[str, Callable[[np.ndarray, float], np.ndarray]] = {
    'autocontrast': _autocontrast, 'equalize': _equalize, 'solarize': _solarize, 'posterize': _posterize,
    'colour': _colour, 'contrast': _contrast, 'brightness': _brightness, 'sharpness': _sharpness}
"""Changes of colour: (uint8 (S, S, 3), strength) -> the same."""

PLACES: Mapping[str, Callable[[float, int], np.ndarray]] = {
    'rotate': _rotate, 'shear_x': _shear_x, 'shear_y': _shear_y, 'translate_x': _translate_x,
    'translate_y': _translate_y}
"""Changes of place: (strength, side in pixels) -> float64 (2, 3), see `_move`."""
