"""What each column of a store makes of a clip: pictures, motion, sound, or a user's own.

A column is any class with the members of `Column`; `--columns=package.module:Name` of `vmmjax prepare`
takes one that is not here. Its arrays are stored by kind:

- `picture`: uint8 (T, H, W, 3), one JPEG a frame;
- `flow`: uint8 (T, H, W, 2), one grey PNG a frame, horizontal beside vertical;
- `array`: float32 (T, M), or (T,) of a waveform's samples.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np

from vmmjax.data.catalog import Row
from vmmjax.data.options import check_positive
from vmmjax.data.sound import Audio, Mfcc, Waveform
from vmmjax.errors import UserError
from vmmjax.media import flow as media_flow
from vmmjax.media import video
from vmmjax.registry import find

JPEG_QUALITY = 95
_PIECE_CHUNKS = 16  # Chunks (seconds, about) of a long clip that are decoded at a time.


class Column(Protocol):
    """Turns a clip into frames at a fixed rate. Instances are dataclasses: their fields are the options.

    Attributes:
      name: folder of the column in the store, and the modality's name in configs.
      kind: how the frames are stored, see the module.
    """

    name: ClassVar[str]
    kind: ClassVar[str]

    @property
    def rate(self) -> float:
        """Frames a second."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an `array` frame; empty for pictures, whose size is the clip's."""

    def read(self, path: Path, clip: Row) -> Iterator[np.ndarray]:
        """Yields the clip's frames in pieces, each but the last a whole number of chunks long.

        Yields nothing where the clip lacks the modality.

        Raises:
          UserError: for a file that cannot be decoded.
        """


def chunk_frames(rate: float) -> int:
    """Frames of a record: about one second."""
    return max(1, round(rate))


@dataclasses.dataclass(frozen=True)
class Rgb:
    """Pictures at a fixed rate, the short side resized.

    Attributes:
      fps: frames a second.
      short_side: pixels.
    """

    fps: float = 25.0
    short_side: int = 128

    name: ClassVar[str] = 'rgb'
    kind: ClassVar[str] = 'picture'

    def __post_init__(self) -> None:
        check_positive(self, 'fps', 'short_side')

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.fps

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures have their clip's size."""
        return ()

    def read(self, path: Path, clip: Row) -> Iterator[np.ndarray]:
        """Yields uint8 (T, H, W, 3)."""
        if clip.fps is None:
            return
        for start, end in _pieces(clip, self.fps):
            yield video.read_frames(path, start=start, end=end, fps=self.fps, short_side=self.short_side)


@dataclasses.dataclass(frozen=True)
class Flow(Rgb):
    """Motion between neighbouring pictures, in pixels of the resized picture a frame.

    Frame t is the motion from picture t to t + 1; the clip's last repeats the one before it.
    The code is that of `vmmjax.media.flow.encode`.

    Attributes:
      fps: frames a second.
      short_side: pixels.
      flow: the algorithm, a key of `algorithms` or your own as package.module:Name.
      flow_on: `resized` or `source`, the pictures that the algorithm is given; flow of the source's pictures is
        resized, its displacements with it.
    """

    flow: str = 'farneback'
    flow_on: str = 'resized'

    name: ClassVar[str] = 'flow'
    kind: ClassVar[str] = 'flow'
    algorithms: ClassVar[Mapping[str, media_flow.Algorithm]] = media_flow.ALGORITHMS

    def __post_init__(self) -> None:
        super().__post_init__()
        find(self.flow, self.algorithms, 'flow')
        if self.flow_on not in ('resized', 'source'):
            raise UserError(f'The option flow_on of the column flow is {self.flow_on!r}; choose resized or source.')

    def read(self, path: Path, clip: Row) -> Iterator[np.ndarray]:
        """Yields uint8 (T, H, W, 2): horizontal, vertical."""
        if clip.fps is None or clip.width is None or clip.height is None:
            return
        algorithm = find(self.flow, self.algorithms, 'flow')
        short_side = self.short_side if self.flow_on == 'resized' else min(clip.width, clip.height)
        for start, end in _pieces(clip, self.fps):
            more = end < clip.end  # One more picture, for the motion that leaves the piece.
            frames = video.read_frames(path, start=start, end=end + more / self.fps, fps=self.fps,
                                       short_side=short_side)
            if not frames.shape[0]:
                continue
            motion = media_flow.motion(frames, algorithm)[:len(frames) - more]
            if self.flow_on == 'source':
                # Its size is that of the pictures in the column rgb, whatever their rounding.
                like = video.read_frames(path, start=start, end=start + 1 / self.fps, fps=self.fps,
                                         short_side=self.short_side)
                motion = media_flow.resize(motion, width=like.shape[2], height=like.shape[1])
            yield media_flow.encode(motion)


COLUMNS: Mapping[str, type[Any]] = {
    'rgb': Rgb, 'flow': Flow, 'audio': Audio, 'mfcc': Mfcc, 'waveform': Waveform}


def encode(kind: str, frames: np.ndarray) -> list[bytes]:
    """Pictures as they are stored.

    Args:
      kind: `picture` or `flow`.
      frames: uint8 (T, H, W, 3 or 2), as the kind says.

    Returns:
      One JPEG or PNG file a frame.
    """
    if kind == 'picture':
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        return [_imencode('.jpg', frame[..., ::-1], quality) for frame in frames]
    return [_imencode('.png', np.concatenate([frame[..., 0], frame[..., 1]], axis=1), []) for frame in frames]


def _imencode(suffix: str, picture: np.ndarray, options: list[int]) -> bytes:
    done, encoded = cv2.imencode(suffix, picture, options)
    if not done:
        raise RuntimeError(f'OpenCV could not write a {suffix} of shape {picture.shape}.')
    return encoded.tobytes()


def _pieces(clip: Row, fps: float) -> Iterator[tuple[float, float]]:
    """Splits a clip's [start, end) into spans of whole chunks, so that a long one never lies in memory decoded."""
    span = _PIECE_CHUNKS * chunk_frames(fps) / fps
    count = max(1, int(np.ceil(clip.duration / span - 1e-9)))
    for i in range(count):
        yield clip.start + i * span, clip.end if i == count - 1 else clip.start + (i + 1) * span
