"""Columns of a store while their frames come: what `prepare.columns` makes of a clip, a frame after another."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame

from vmmjax.errors import UserError
from vmmjax.media import flow, spectrum
from vmmjax.media.live_sound import LiveSound
from vmmjax.media.orientation import orientation
from vmmjax.media.video import JITTER, picture
from vmmjax.prepare.audio_columns import Audio, Waveform
from vmmjax.prepare.columns import ColumnBuilder, Flow, Rgb
from vmmjax.prepare.encoding import encode
from vmmjax.registry import find


class Block(NamedTuple):
    """Frames as they are stored.

    Attributes:
      number: of the first; where it does not follow the last one, the column has begun anew.
      frames: encoded pictures, or float32 (T, ...).
    """

    number: int
    frames: Any


class LiveColumn(Protocol):
    """One column of one source.

    Attributes:
      size: height and width of its pictures; zeros before the first, and of arrays.
    """

    size: tuple[int, int]

    def take(self, time: float, frame: Any) -> Block:
        """What is known after a decoded frame, `time` seconds from the clock's zero."""

    def fill(self, time: float) -> Block:
        """What is known where nothing more comes before `time`, in seconds."""

    def finish(self, duration: float) -> Block:
        """The rest of a clip of that many seconds."""


def live_column(column: ColumnBuilder, gap: float, aspect: float = 1.0) -> LiveColumn:
    """The column of one source.

    Args:
      column: of a run.
      gap: seconds without frames after which it begins anew; what is shorter is filled as in a file.
      aspect: width of a pixel, where its height is 1.

    Raises:
      UserError: for a column that needs the whole clip, or is not one of ours.
    """
    kind = type(column)
    if isinstance(column, Waveform) and (column.denoise or column.trim_db):
        raise UserError(f'The column {column.name} was prepared with denoise or trim_db, which need a whole clip, so '
                        f'the run cannot watch a live stream; prepare the store without them and train again.')
    if kind is Rgb:
        return _Pictures(column, gap, aspect)  # type: ignore[arg-type]
    if isinstance(column, Flow) and kind is Flow and column.flow_on == 'resized':
        return _Motion(column, gap, aspect)
    if kind is Waveform:
        return _Sound(column, gap)  # type: ignore[arg-type]
    if kind is Audio:
        return _LogMel(column, gap)  # type: ignore[arg-type]
    raise UserError(f'The column {column.name} cannot be made from a stream that still runs; a live run reads rgb, '
                    f'flow of resized pictures, waveform and audio.')


def reads_pictures(column: ColumnBuilder) -> bool:
    """Whether a column is made of pictures, and not of sound."""
    return column.kind != 'array'


class _Pictures:
    """The picture shown in the middle of each part of time, see `media.video.each_frame`."""

    kind = 'picture'

    def __init__(self, column: Rgb, gap: float, aspect: float) -> None:
        self._rate, self._short_side, self._gap, self._aspect = column.fps, column.short_side, gap, aspect
        self._next, self._time = 0, 0.0
        self._shown: VideoFrame | None = None
        self.size = (0, 0)

    def take(self, time: float, frame: VideoFrame) -> Block:
        block = Block(self._next, [])
        if self._shown is not None and time - self._time > self._gap:
            self._restart(self._due(time))
        elif self._shown is not None:
            block = self._until(self._due(time))
        width = frame.width * self._aspect
        scale = self._short_side / min(width, frame.height)
        size = round(width * scale), round(frame.height * scale)
        if self._shown is None:
            self._turn, self._small = orientation(frame), size
        elif size != self._small:
            self._small = size
            self._restart(self._due(time))
        self._shown, self._time = frame, time
        return block

    def fill(self, time: float) -> Block:
        return self._until(self._due(time)) if self._shown is not None else Block(self._next, [])

    def finish(self, duration: float) -> Block:
        return self._until(round(duration * self._rate)) if self._shown is not None else Block(self._next, [])

    def _due(self, time: float) -> int:
        """How many pictures are wanted before a time."""
        count = max(0, int((time - JITTER) * self._rate - 0.5) - 1)
        while (count + 0.5) / self._rate < time - JITTER:
            count += 1
        return count

    def _until(self, end: int) -> Block:
        first, count = self._next, max(0, end - self._next)
        self._next += count
        return Block(first, self._made(count) if count else [])

    def _made(self, count: int) -> list[bytes]:
        """So many times what is shown."""
        return encode(self.kind, self._picture()[None]) * count

    def _picture(self) -> np.ndarray:
        assert self._shown is not None
        shown = picture(self._shown, self._small, self._turn)
        self.size = shown.shape[0], shown.shape[1]
        return shown

    def _restart(self, number: int) -> None:
        """A number is left out, so that what was before is told from what follows."""
        self._next = max(number, self._next) + 1


class _Motion(_Pictures):
    """Flow from each picture to the next, one picture late."""

    kind = 'flow'

    def __init__(self, column: Flow, gap: float, aspect: float) -> None:
        super().__init__(column, gap, aspect)
        self._algorithm = find(column.flow, column.algorithms, 'flow')
        self._before: np.ndarray | None = None
        self._last: list[bytes] = []

    def finish(self, duration: float) -> Block:
        block = super().finish(duration)
        return Block(block.number, [*block.frames, *(block.frames or self._last)[-1:]])

    def _until(self, end: int) -> Block:
        late = self._before is not None
        number, codes = super()._until(end)
        return Block(number - late, codes)

    def _made(self, count: int) -> list[bytes]:
        pictures = [self._picture()] * count
        before, self._before = self._before, pictures[-1]
        if before is not None:
            pictures.insert(0, before)
        moved = flow.motion(np.stack(pictures), self._algorithm)[:-1]
        codes = encode(self.kind, flow.encode(moved)) if len(moved) else []
        self._last = codes[-1:] or self._last
        return codes

    def _restart(self, number: int) -> None:
        super()._restart(number)
        self._before = None


class _Sound:
    """The waveform."""

    size = (0, 0)

    def __init__(self, column: Waveform, gap: float) -> None:
        self._sound = LiveSound(column.audio_rate, gap)

    def take(self, time: float, frame: AudioFrame) -> Block:
        return self._heard(*self._sound.take(time, frame))

    def fill(self, time: float) -> Block:
        return self._heard(*self._sound.fill(time))

    def finish(self, duration: float) -> Block:
        return self._heard(*self._sound.finish(duration), last=True)

    def _heard(self, number: int, samples: np.ndarray, last: bool = False) -> Block:
        return Block(number, samples)


class _LogMel(_Sound):
    """Log-mels of what is known of the waveform: a frame, when all samples under it are there."""

    def __init__(self, column: Audio, gap: float) -> None:
        super().__init__(column, gap)
        self._how = column.spectrogram
        self._base = self._next = 0  # Number of the first sample that is kept; of the next frame.
        self._kept = np.zeros(0, np.float32)

    def _heard(self, number: int, samples: np.ndarray, last: bool = False) -> Block:
        how = self._how
        if number != self._base + len(self._kept):
            self._base = -(-number // how.hop) * how.hop
            samples = samples[self._base - number:]
            self._kept = samples[:0]
            self._next = self._base // how.hop + (-(-how.lead // how.hop) if self._base else 0)
        self._kept = np.concatenate([self._kept, samples])
        first, known = self._base // how.hop, self._base + len(self._kept)
        end = first + how.frames(len(self._kept))
        if not last:
            end = min(end, (known + how.lead - how.window) // how.hop + 1)
        count = end - self._next
        if count <= 0:
            return Block(self._next, np.zeros((0, how.bands), np.float32))
        block = Block(self._next, spectrum.log_mel(self._kept, how)[self._next - first:end - first])
        self._next = end
        # Frames to come begin no earlier; a mirrored end needs a window more.
        base = max(self._base, (end * how.hop - how.lead - how.window) // how.hop * how.hop)
        self._kept, self._base = self._kept[base - self._base:], base
        return block


def check(columns: Sequence[ColumnBuilder]) -> None:
    """Refuses columns that cannot be live.

    Raises:
      UserError: see `live_column`.
    """
    for column in columns:
        live_column(column, 0.0)
