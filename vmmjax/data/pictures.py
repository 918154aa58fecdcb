"""From stored pictures to the frames of a clip: decode, cut, change. No more than that, as this is where time goes."""

import dataclasses
import threading

import cv2
import numpy as np
from simplejpeg import decode_jpeg  # The same pixels in three quarters of OpenCV's time.

from vmmjax.data import augment, crops, rand_augment

_GREY = 128  # Of what is erased; in the code of motion it is none.
_scratch = threading.local()  # A picture that was decoded, until it is cut: fresh memory costs as much as copying.


@dataclasses.dataclass(frozen=True)
class Change:
    """What is done to every frame of a clip.

    Attributes:
      box: top, left, height, width of what is cut out.
      mirror: whether it is mirrored left and right.
      ops: of RandAugment.
      colour: float32 (4, 3), see `augment.colour_matrices`; of pictures only.
      erase: top, left, height, width of what is erased.
    """

    box: np.ndarray
    mirror: bool = False
    ops: tuple[rand_augment.Op, ...] = ()
    colour: np.ndarray | None = None
    erase: np.ndarray | None = None


def frame(encoded: memoryview, size: tuple[int, int], change: Change, out: np.ndarray) -> None:
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
        augment.colour(made, change.colour)
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
