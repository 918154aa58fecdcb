"""Windows of media files as a network reads them, in the form of clip batches."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from vmmjax.media import probe, video
from vmmjax.pipeline.windows import WindowSpec, reflect
from vmmjax.prepare.columns import ColumnBuilder
from vmmjax.serving.predict import centre
from vmmjax.store.catalog import ClipInfo

Window = tuple[np.ndarray, np.ndarray]  # The frames (T, ...), and which of them are valid, bool (T,).


class Reader(Protocol):
    """Reads one stream of a file."""

    def is_in(self, found: probe.Probe) -> bool:
        """Whether a file has what the stream is made of; else its windows are masked."""

    def windows(self, path: Path, found: probe.Probe, starts: np.ndarray, cut: WindowSpec) -> Iterator[Window]:
        """Yields the windows that begin at `starts`, float64 (W,) in seconds; all of one shape."""


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures at equal distances in a window, the square in their middle.

    Attributes:
      frames: in a window.
      short_side: of the pictures, in pixels.
      size: side of the square.
    """

    frames: int
    short_side: int
    size: int

    def is_in(self, found: probe.Probe) -> bool:
        """Whether there are pictures."""
        return found.width is not None

    def windows(self, path: Path, found: probe.Probe, starts: np.ndarray, cut: WindowSpec) -> Iterator[Window]:
        """Yields uint8 (frames, size, size, 3); a file is decoded once where the stride is a number of pictures."""
        fps = self.frames / (cut.window or found.duration)
        step, last = cut.stride * fps, found.picture_end or 0.0
        pieces: Iterable[list[np.ndarray]]
        if not self.is_in(found):
            pieces = ([] for _ in starts)
        elif abs(step - round(step)) < 1e-6:
            pictures = video.each_frame(path, end=last, fps=fps, short_side=self.short_side)
            squares = (centre(picture, self.size) for picture in pictures)
            pieces = sliding(squares, self.frames, round(step), len(starts))
        else:
            pieces = ([centre(picture, self.size) for picture in video.each_frame(
                path, start=start, end=min(start + cut.window, last), fps=fps, short_side=self.short_side)]
                if start < last else [] for start in starts.tolist())
        for piece in pieces:
            yield _filled(piece[:self.frames], (self.frames, self.size, self.size, 3), np.uint8)


@dataclasses.dataclass(frozen=True)
class Sounds:
    """What a column of a store makes of the sound of each window, for itself.

    Attributes:
      column: of kind `array`.
    """

    column: ColumnBuilder

    def is_in(self, found: probe.Probe) -> bool:
        """Whether there is a sound track."""
        return found.audio_rate is not None

    def windows(self, path: Path, found: probe.Probe, starts: np.ndarray, cut: WindowSpec) -> Iterator[Window]:
        """Yields float32 (T, *column.shape), T = round(window * rate)."""
        shape = (max(1, round((cut.window or found.duration) * self.column.rate)), *self.column.shape)
        ends = cut.ends(starts, found.duration)
        for start, end in zip(starts.tolist(), ends.tolist(), strict=True):
            clip = ClipInfo(str(path), '', '', start, end, end - start, found.fps, found.width, found.height,
                            found.audio_rate)
            pieces = list(self.column.read(path, clip))
            yield _filled(np.concatenate(pieces)[:shape[0]] if pieces else [], shape, np.float32)


def sliding(pictures: Iterable[np.ndarray], frames: int, step: int, count: int) -> Iterator[list[np.ndarray]]:
    """Cuts a stream of pictures into windows, of which no more than one lies in memory.

    Args:
      pictures: read as they are needed.
      frames: of a window.
      step: pictures from the first of a window to the first of the next.
      count: windows; the last ones have fewer frames where the pictures end.
    """
    recent: collections.deque[np.ndarray] = collections.deque(maxlen=frames)
    seen = given = 0
    for picture in pictures if count else ():
        recent.append(picture)
        seen += 1
        if seen == given * step + frames:
            yield list(recent)
            given += 1
            if given == count:
                return
    for window in range(given, count):
        left = max(0, seen - window * step)
        yield list(recent)[len(recent) - left:] if left else []


def batches(path: Path, readers: Mapping[str, Reader], found: probe.Probe, starts: np.ndarray, cut: WindowSpec,
            batch_size: int) -> Iterator[dict[str, np.ndarray]]:
    """Clip batches of a file's windows.

    Args:
      path: of the file.
      readers: of each stream.
      found: what the file holds.
      starts: float64 (W,), seconds.
      cut: how it is cut; the last windows are reflected where it says so.
      batch_size: windows a batch; the last batch has the next power of two that is enough.

    Yields:
      For each stream s `s` (B, T, ...), `valid/s` bool (B, T) and `present/s` bool (B,); `mask` float32 (B,), 0 for
      padding.

    Raises:
      MediaError: where the file cannot be decoded, or holds nothing that the network reads.
    """
    if not any(reader.is_in(found) for reader in readers.values()):
        raise probe.MediaError(path, f'it holds nothing that the network reads ({", ".join(readers)})')
    streams = [reader.windows(path, found, starts, cut) for reader in readers.values()]
    pending: list[dict[str, np.ndarray]] = []
    for parts in zip(*streams, strict=True):
        window: dict[str, np.ndarray] = {}
        for name, (x, valid) in zip(readers, parts, strict=True):
            x, valid = reflect(x, valid) if cut.tail == 'reflect' else (x, valid)
            window |= {name: x, f'valid/{name}': valid, f'present/{name}': np.asarray(valid.any())}
        pending.append(window | {'mask': np.ones((), np.float32)})
        if len(pending) == batch_size:
            yield _stacked(pending, batch_size)
            pending = []
    if pending:
        yield _stacked(pending, min(batch_size, 1 << (len(pending) - 1).bit_length()))


def _filled(frames: list[np.ndarray] | np.ndarray, shape: tuple[int, ...], dtype: type) -> Window:
    """The frames there are, zeros behind them, and which are which."""
    out: np.ndarray = np.zeros(shape, dtype)
    if len(frames):
        out[:len(frames)] = frames
    return out, np.arange(shape[0]) < len(frames)


def _stacked(windows: list[dict[str, np.ndarray]], size: int) -> dict[str, np.ndarray]:
    missing = size - len(windows)
    return {key: np.stack([*(window[key] for window in windows), *[np.zeros_like(first)] * missing])
            for key, first in windows[0].items()}
