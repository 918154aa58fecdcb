"""How a stored picture becomes an upright one."""

import math
from dataclasses import dataclass
from typing import cast

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import Interpolation


@dataclass(frozen=True)
class Orientation:
    """First rows and columns are exchanged, then the picture is mirrored.

    Attributes:
      transposed: whether rows become columns.
      left_right: whether it is mirrored horizontally.
      top_bottom: whether it is mirrored vertically.
    """

    transposed: bool = False
    left_right: bool = False
    top_bottom: bool = False

    def apply(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) as it is stored, to (H, W, 3) or (W, H, 3), upright and contiguous."""
        if self.transposed:
            picture = picture.transpose(1, 0, 2)
        if self.left_right:
            picture = picture[:, ::-1]
        if self.top_bottom:
            picture = picture[::-1]
        return np.ascontiguousarray(picture)


def orientation(frame: VideoFrame) -> Orientation:
    """What a picture's display matrix says: any quarter turn, mirrored or not, the nearest to it for other angles.

    To be asked of a track's first picture only. PyAV ties a frame and its side data into a cycle, which stays in memory
    until Python looks for cycles: a small copy is asked.
    """
    frame = frame.reformat(16, 16, 'rgb24', interpolation=Interpolation.POINT, threads=1)
    try:
        data = frame.side_data.get('DISPLAYMATRIX')
    except ValueError:  # PyAV does not know what else lies beside the picture.
        angle = -math.radians(frame.rotation)
        a, b, c, d = math.cos(angle), math.sin(angle), -math.sin(angle), math.cos(angle)
    else:
        if data is None:
            return Orientation()
        a, b, _, c, d, *_ = np.frombuffer(cast(bytes, data), np.int32).astype(float)
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Orientation(False, a < 0, d < 0)
    return Orientation(True, c < 0, b < 0)
