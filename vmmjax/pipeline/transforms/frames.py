"""From stored pictures to the frames of a clip: decode, cut, change. No more than that, as this is where time goes."""

import dataclasses
import threading

import cv2
import numpy as np
from simplejpeg import decode_jpeg  # The same pixels in three quarters of OpenCV's time.

from vmmjax.pipeline.transforms import crops, rand_augment

_LUMA = np.array([0.299, 0.587, 0.114])  # ITU-R BT.601.


def colour_matrices(draws: np.ndarray, strength: float) -> np.ndarray:
    """One affine map of colours a clip: brightness, contrast and saturation within 1 +- strength.

    Args:
      draws: float64 (B, 3) in [0, 1).
      strength: 0 changes nothing.

    Returns:
      float32 (B, 4, 3): a colour (r, g, b) in 0..255 becomes (r, g, b, 1) @ matrix.
    """
    brightness, contrast, saturation = (1 + strength * (2 * draws.T - 1))[:, :, None, None]
    grey = np.repeat(_LUMA[:, None], 3, axis=1)
    linear = brightness * contrast * (saturation * np.eye(3) + (1 - saturation) * grey)
    shift = np.broadcast_to(brightness * (1 - contrast) * 127.5, (len(draws), 1, 3))
    return np.concatenate([linear, shift], axis=1).astype(np.float32)


def colour(picture: np.ndarray, matrix: np.ndarray) -> None:
    """Applies a colour map to a picture in its place, to the nearest level or one beside it.

    Args:
      picture: uint8 (H, W, 3), contiguous; it is changed.
      matrix: float32 (4, 3), one of `colour_matrices`.
    """
    cv2.transform(picture, matrix.T, dst=picture)


def erased(draws: np.ndarray, probability: float, size: int) -> np.ndarray:
    """Boxes of random erasing (Zhong et al. 2020): .02 to 1/3 of the area, 3:10 to 10:3, inside the picture.

    Args:
      draws: float64 (B, 5) in [0, 1).
      probability: of a box that is not empty.
      size: side of the picture in pixels.

    Returns:
      int64 (B, 4): top, left, height, width.
    """
    area = size * size * (0.02 + draws[:, 1] * (1 / 3 - 0.02))
    ratio = np.exp((2 * draws[:, 2] - 1) * np.log(10 / 3))
    shape = np.rint(np.sqrt(np.stack([area * ratio, area / ratio], axis=1))).clip(1, size).astype(np.int64)
    shape *= (draws[:, :1] < probability)
    return np.concatenate([np.floor(draws[:, 3:] * (size - shape + 1)).astype(np.int64), shape], axis=1)


def drop_streams(present: np.ndarray, rates: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Modality dropout that never takes a row's last stream.

    Where every stream of a row would go, one of those it had stays, each as likely as the other.

    Args:
      present: bool (B, S).
      rates: float64 (S,), probabilities.
      draws: float64 (B, S + 1) in [0, 1).

    Returns:
      bool (B, S), the streams that stay.
    """
    stays = present & (draws[:, :-1] >= rates)
    count = present.sum(axis=1)
    chosen = np.floor(draws[:, -1] * count).astype(np.int64)
    rank = np.cumsum(present, axis=1) - 1
    spared = present & (rank == chosen[:, None])
    return np.where(stays.any(axis=1, keepdims=True), stays, spared)


_GREY = 128  # Of what is erased; in the code of motion it is none.
_scratch = threading.local()  # A picture that was decoded, until it is cut: fresh memory costs as much as copying.


@dataclasses.dataclass(frozen=True)
class Change:
    """What is done to every frame of a clip.

    Attributes:
      box: top, left, height, width of what is cut out.
      mirror: whether it is mirrored left and right.
      ops: of RandAugment.
      colour: float32 (4, 3), see `colour_matrices`; of pictures only.
      erase: top, left, height, width of what is erased.
    """

    box: np.ndarray
    mirror: bool = False
    ops: tuple[rand_augment.Op, ...] = ()
    colour: np.ndarray | None = None
    erase: np.ndarray | None = None


def decode_frame(encoded: memoryview, size: tuple[int, int], change: Change, out: np.ndarray) -> None:
    """Decodes a stored picture into a frame.

    Args:
      encoded: a JPEG, or a PNG of motion.
      size: its height and width.
      change: what is done to it.
      out: uint8 (S, S, 3) or (S, S, 2), which says what is stored.

    Raises:
      ValueError: for a damaged picture.
    """
    made = out if out.flags.c_contiguous else np.empty(out.shape, np.uint8)  # OpenCV writes to no other.
    if out.shape[2] == 3:
        crops.cut(_decode(encoded, size), change.box, change.mirror, made)
    else:
        crops.cut_flow(_decode_grey(encoded, size), change.box, change.mirror, made)
    if change.ops:
        made[:] = rand_augment.apply(made, change.ops)
    if change.colour is not None and out.shape[2] == 3:
        colour(made, change.colour)
    if change.erase is not None:
        top, left, height, width = change.erase
        made[top:top + height, left:left + width] = _GREY
    if made is not out:
        out[:] = made


def _decode(encoded: memoryview, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    buffer = getattr(_scratch, 'buffer', None)
    if buffer is None or buffer.size < height * width * 3:
        buffer = _scratch.buffer = np.empty(height * width * 3, np.uint8)
    return _checked(decode_jpeg(encoded, 'RGB', buffer=buffer[:height * width * 3]), (height, width, 3))


def _decode_grey(encoded: memoryview, size: tuple[int, int]) -> np.ndarray:
    height, width = size
    return _checked(cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_GRAYSCALE), (height, 2 * width))


def _checked(picture: np.ndarray | None, shape: tuple[int, ...]) -> np.ndarray:
    if picture is None or picture.shape != shape:
        raise ValueError('its pictures cannot be decoded')
    return picture
