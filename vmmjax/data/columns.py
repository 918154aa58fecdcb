"""What each column of a store makes of a clip: pictures, motion, sound, or a user's own.

A column is any class with the members of `Column`; `--columns=package.module:Name` of `vmmjax prepare`
takes one that is not here. Its arrays are stored by kind:

- `picture`: uint8 (T, H, W, 3), one JPEG a frame;
- `flow`: uint8 (T, H, W, 2), one grey PNG a frame, horizontal beside vertical;
- `array`: float32 (T, M), or (T,) of a waveform's samples.
"""

import dataclasses
import itertools
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
_PIECE, _PIECE_BYTES = 16, 1 << 26  # Seconds, about, and bytes of a long clip that lie in memory decoded.


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
        """Yields the clip's frames in pieces, so that a long one need not lie in memory decoded.

        Yields nothing where the clip lacks the modality.

        Raises:
          UserError: for a file that cannot be decoded.
        """


def chunk_frames(column: Column) -> int:
    """Frames of a record: one picture, since samplings take single ones; about a second of anything else."""
    return max(1, round(column.rate)) if column.kind == 'array' else 1


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
        yield from _pictures(path, clip, self.fps, self.short_side)


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
        small = None
        if self.flow_on == 'source':  # The size of the pictures in the column rgb, whatever their rounding.
            small = next(video.each_frame(path, end=1 / self.fps, fps=self.fps, short_side=self.short_side)).shape
        before = after = None
        for pictures in _pictures(path, clip, self.fps, short_side):
            # From the piece before, the picture whose motion leads into this one.
            frames = pictures if before is None else np.concatenate([before, pictures])
            motion = media_flow.motion(frames, algorithm)
            if small is not None:
                motion = media_flow.resize(motion, width=small[1], height=small[0])
            codes = media_flow.encode(motion)
            yield codes[:-1]
            before, after = frames[-1:], codes[-1:]
        if after is not None:
            yield after


COLUMNS: Mapping[str, type[Any]] = {
    'rgb': Rgb, 'flow': Flow, 'audio': Audio, 'mfcc': Mfcc, 'waveform': Waveform}


def stored(column: Column, path: Path, clip: Row) -> Iterator[tuple[list[bytes] | np.ndarray, tuple[int, int]]]:
    """Yields what `column.read` does as it is stored, for a process that a damaged file may hang or crash.

    Yields:
      Encoded pictures, or an array as it is, and the pictures' height and width, zeros for an array.
    """
    for piece in column.read(path, clip):
        yield (piece, (0, 0)) if column.kind == 'array' else (encode(column.kind, piece), piece.shape[1:3])


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
        return [_imencode('.jpg', cv2.cvtColor(frame, cv2.COLOR_RGB2BGR), quality) for frame in frames]
    return [_imencode('.png', np.concatenate([frame[..., 0], frame[..., 1]], axis=1), []) for frame in frames]


def _imencode(suffix: str, picture: np.ndarray, options: list[int]) -> bytes:
    done, encoded = cv2.imencode(suffix, picture, options)
    if not done:
        raise RuntimeError(f'OpenCV could not write a {suffix} of shape {picture.shape}.')
    return encoded.tobytes()


def _pictures(path: Path, clip: Row, fps: float, short_side: int) -> Iterator[np.ndarray]:
    """The pictures of a clip, uint8 (T, H, W, 3), in pieces, so that a long one never lies in memory decoded."""
    frames = itertools.islice(
        video.each_frame(path, start=clip.start, end=clip.end, fps=fps, short_side=short_side),
        round((clip.end - clip.start) * fps))
    for first in frames:
        most = min(_PIECE * max(1, round(fps)), max(2, _PIECE_BYTES // first.nbytes))
        yield np.stack([first, *itertools.islice(frames, most - 1)])
