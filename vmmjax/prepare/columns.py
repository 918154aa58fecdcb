"""What each column of a store makes of a clip: pictures, motion, sound, or a user's own.

A column is any class with the members of `ColumnBuilder`; `--columns=package.module:Name` of `vmmjax prepare`
takes one that is not here. Its arrays are stored by kind:

- `picture`: uint8 (T, H, W, 3), one JPEG a frame;
- `flow`: uint8 (T, H, W, 2), one grey PNG a frame, horizontal beside vertical;
- `array`: float32 (T, M), or (T,) of a waveform's samples.
"""

import dataclasses
import errno
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np

from vmmjax.errors import UserError
from vmmjax.media import flow as media_flow
from vmmjax.media import video
from vmmjax.media.container import MediaError
from vmmjax.media.limits import lacks_memory, unforeseen
from vmmjax.prepare.audio_columns import Audio, Mfcc, Waveform, check_positive
from vmmjax.prepare.encoding import encode
from vmmjax.registry import find
from vmmjax.store.catalog import ClipInfo

_PIECE, _PIECE_BYTES = 16, 1 << 26  # Seconds, about, and bytes of a long clip that lie in memory decoded.
_OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT)  # Errors that are no clip's: the command stops, and goes on later.


class ColumnBuilder(Protocol):
    """Turns a clip into frames at a fixed rate. Instances are dataclasses: their fields are the options.

    A class whose frames become others with the same options counts that in `version: ClassVar[int]`, 1 unless given: a
    run that was trained on the earlier ones does not go on with a store of the later.

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

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """Yields the clip's frames in pieces, so that a long one need not lie in memory decoded.

        Yields nothing where the clip lacks the modality.

        Raises:
          UserError: for a file that cannot be decoded.
        """


class Counted(ColumnBuilder, Protocol):
    """A column that knows how much it makes of a clip, so that prediction reads a long one as it goes on."""

    def count(self, clip: ClipInfo) -> int:
        """How many frames `read` yields in all; 0 where the clip lacks the modality."""


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
    version: ClassVar[int] = 2  # Before, a clip too short for a picture at its rate had none.

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

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """Yields uint8 (T, H, W, 3)."""
        if clip.fps is None:
            return
        yield from _pictures(path, clip, self.fps, self.short_side)

    def count(self, clip: ClipInfo) -> int:
        """See `Counted`."""
        seconds = _picture_end(clip) - clip.start
        return 0 if clip.fps is None or seconds <= 0 else max(1, round(seconds * self.fps))


@dataclasses.dataclass(frozen=True)
class Flow(Rgb):
    """Motion between neighbouring pictures, in pixels of the resized picture a frame.

    Frame t is the motion from picture t to t + 1; the clip's last repeats the one before it. A single picture has none.
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

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
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
            if before is None and len(pictures) == 1:
                raise MediaError(path, f'it has one picture at {self.fps:g} a second, and so no motion')
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


def stored(column: ColumnBuilder, path: Path, clip: ClipInfo
           ) -> Iterator[tuple[list[bytes] | np.ndarray, tuple[int, int]]]:
    """Yields what `column.read` does as it is stored, for a process that a damaged file may hang or crash.

    Yields:
      Encoded pictures, or an array as float32, and the pictures' height and width, zeros for an array.

    Raises:
      UserError: for a file that cannot be decoded, whatever the column raises; for frames that are none of its kind.
    """
    try:
        for piece in column.read(path, clip):
            frames = _checked(column, path, piece)
            yield (frames, (0, 0)) if column.kind == 'array' else (encode(column.kind, frames), frames.shape[1:3])
    except UserError:
        raise
    except Exception as error:
        if lacks_memory(error) or (isinstance(error, OSError) and error.errno in _OF_THE_DISK):
            raise
        raise unforeseen(path, 'the column', error) from error


def _checked(column: ColumnBuilder, path: Path, frames: np.ndarray) -> np.ndarray:
    """Frames of a column's kind, arrays as float32; what no store holds is refused."""
    if column.kind != 'array':
        if frames.dtype != np.uint8:
            raise MediaError(path, f'its frames are {frames.dtype}, not uint8')
        return frames
    if frames.shape[1:] != tuple(column.shape):
        raise MediaError(path, f'its frames have the shape {frames.shape[1:]}, not {tuple(column.shape)}')
    with np.errstate(over='ignore'):
        frames = frames.astype(np.float32, copy=False)
    if not np.isfinite(frames).all():
        raise MediaError(path, 'its frames hold numbers that are not finite')
    return frames


def import_path(column: ColumnBuilder) -> str:
    """The class of a builder as `package.module:Name`; empty for ours, which are found by the column's name."""
    kind = type(column)
    return '' if COLUMNS.get(column.name) is kind else f'{kind.__module__}:{kind.__qualname__}'


def rebuilt(name: str, record: Mapping[str, Any]) -> ColumnBuilder:
    """The builder that made a column.

    Args:
      name: of the column.
      record: its `kind`, `rate`, `shape`, `options` and `builder`, as of `store.column.Column`; JSON's lists of options
        become tuples.

    Raises:
      UserError: for a column that was not made from files, whose class was not recorded, cannot be imported or is
        another now.
    """
    if record['options'] is None:
        raise UserError(f'The column {name!r} was made from arrays, so that how to make it from a file is not known; '
                        f'give arrays again.')
    if not record['builder'] and name not in COLUMNS:
        raise UserError(f'The class of the column {name!r} was not recorded by the older vmmjax that prepared the '
                        f'store; run the same `vmmjax prepare` again, which adds it, and train again.')
    kind = find(record['builder'] or name, COLUMNS, 'column')
    try:
        column: ColumnBuilder = kind(**{key: _tuples(value) for key, value in record['options'].items()})
        made = (column.kind, column.rate, list(column.shape))
    except (TypeError, AttributeError) as error:
        raise UserError(f'The column {name!r} was made by the class {record["builder"] or name} with the options '
                        f'{record["options"]}, which it does not take now ({error}); go back to what it was.'
                        ) from error
    expected = (record['kind'], record['rate'], list(record['shape']))
    if made != expected:
        raise UserError(f'The column {name!r} had (kind, rate, shape) {expected}, and the class '
                        f'{record["builder"] or name} makes {made} now; go back to what it was.')
    return column


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value


def _pictures(path: Path, clip: ClipInfo, fps: float, short_side: int) -> Iterator[np.ndarray]:
    """The pictures of a clip, uint8 (T, H, W, 3), in pieces, so that a long one never lies in memory decoded."""
    end = _picture_end(clip)
    if end <= clip.start:
        return
    frames = video.each_frame(path, start=clip.start, end=end, fps=fps, short_side=short_side)
    for first in frames:
        most = min(_PIECE * max(1, round(fps)), max(2, _PIECE_BYTES // first.nbytes))
        yield np.stack([first, *itertools.islice(frames, most - 1)])


def _picture_end(clip: ClipInfo) -> float:
    """Seconds in the file at which the pictures of a clip end."""
    return clip.end if clip.picture_end is None else min(clip.end, clip.picture_end)
