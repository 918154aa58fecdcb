"""One connection to a source, or one file: its newest frames, its windows, and which frames were seen."""

import collections
import dataclasses
import threading
import time
from collections.abc import Mapping
from typing import Any

from vmmjax.pipeline.windows import WindowSpec
from vmmjax.prepare.columns import ColumnBuilder
from vmmjax.serving.live.columns import Block, LiveColumn, live_column, reads_pictures
from vmmjax.serving.live.ring import Ring
from vmmjax.serving.live.windows import Window

# Seconds by which sound and pictures of a file may lie apart in it; what is not there by then is missing.
_INTERLEAVED = 10.0
_NEAR = 1e-6


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Which windows are judged.

    Attributes:
      window: seconds.
      stride: seconds from the beginning of a window to that of the next.
      stall: seconds without frames after which a stream is absent.
    """

    window: float
    stride: float
    stall: float


@dataclasses.dataclass
class Counts:
    """Of one source.

    Attributes:
      frames: decoded pictures, or pieces of sound of a source without pictures.
      used: those that a judged window shows.
      dropped: those that none shows and none will; what is left waits.
      windows: that were judged.
      windows_dropped: that were not judged, because a newer one was, or because of a gap.
      damaged: frames that could not be read.
    """

    frames: int = 0
    used: int = 0
    dropped: int = 0
    windows: int = 0
    windows_dropped: int = 0
    damaged: int = 0


@dataclasses.dataclass
class _Track:
    builder: ColumnBuilder
    column: LiveColumn
    ring: Ring
    arrived: float

    def covers(self, begin: float, end: float) -> bool:
        """Whether the frames of a window are there to its end."""
        return self.ring.end >= self.end_of(begin, end)

    def end_of(self, begin: float, end: float) -> int:
        """The number after a window's last frame."""
        rate = self.builder.rate
        return max(-int(-(end * rate - _NEAR) // 1), round(begin * rate) + round((end - begin) * rate))


class Session:
    """Frames come from the source's thread, windows are taken by the one that judges.

    Attributes:
      wall: seconds since 1970 at the clock's zero; of a stream known with the first frames.
      speed: seconds of the clock in a second; 0 where they have no relation.
      keeps: whether every window is judged, and the source waits for that.
      duration: of a file, in seconds; None where it is not known.
      over: whether no frame will come.
      drained: whether, besides, no window is left to be judged.
      arrived: when the newest frame of the window that was taken last came, by `time.monotonic`.
    """

    def __init__(self, builders: Mapping[str, ColumnBuilder], schedule: Schedule, counts: Counts,
                 changed: threading.Condition, *, wall: float, speed: float = 1.0, duration: float | None = None,
                 aspect: float = 1.0) -> None:
        """Begins with no frame.

        Args:
          builders: of the columns that the source has.
          schedule: of the windows.
          counts: of the source; they are added to.
          changed: is notified of every frame.
          wall: see `Session`.
          speed: see `Session`.
          duration: see `Session`.
          aspect: width of a pixel.
        """
        self.wall, self.speed, self.keeps, self.duration = wall, speed, not speed, duration
        self.over, self.drained, self.arrived = False, False, time.monotonic()
        self._schedule, self._counts, self._changed = schedule, counts, changed
        now = time.monotonic()
        gap = 60.0 if duration is not None else schedule.stall
        self._tracks = {name: _Track(builder, live_column(builder, gap, aspect), Ring(), now)
                        for name, builder in builders.items()}
        self._epoch = time.time() - now
        self._next, self._begun = 0, False
        self._waiting: collections.deque[tuple[float, float]] = collections.deque()  # Frames: time, arrival.
        self._main = any(map(reads_pictures, builders.values()))
        self._windows = None if duration is None else len(
            WindowSpec(schedule.window, schedule.stride).starts(duration))

    def take(self, seconds: float, frame: Any, pictures: bool) -> None:
        """Takes a decoded frame.

        Args:
          seconds: on the clock.
          frame: of PyAV.
          pictures: whether it is a picture, and no sound.
        """
        made: list[tuple[_Track, list[Block]]] = []
        damaged = 0
        for track in self._tracks.values():
            if reads_pictures(track.builder) == pictures:
                try:
                    made.append((track, [track.column.take(seconds, frame)]))
                except ValueError:
                    damaged = 1
            elif self.duration is not None and track.ring.end / track.builder.rate < seconds - _INTERLEAVED:
                made.append((track, [track.column.fill(seconds - _INTERLEAVED)]))
        now = time.monotonic()
        with self._changed:
            if self.drained:
                return
            if len(self.stalled()) == len(self._tracks):
                # The whole source was silent: no stream of it has stalled before the others have gone on for a while.
                for track in self._tracks.values():
                    track.arrived = now
            self._counts.damaged += damaged
            for track, blocks in made:
                for block in blocks:
                    track.ring.add(*block)
                if reads_pictures(track.builder) == pictures:
                    track.arrived = now
            if self.duration is None:
                # What was sent while the stream was opened comes at once; the frame that was least delayed tells.
                wall = self._epoch + now - seconds
                self.wall = min(self.wall, wall) if self._begun else wall
            self._begun = True
            if pictures == self._main:
                self._counts.frames += 1
                self._waiting.append((seconds, now))
            if not self.keeps:
                oldest = seconds - self._schedule.window - self._schedule.stride - 1
                self._forget(oldest)
                while self._waiting and self._waiting[0][0] < oldest:
                    self._waiting.popleft()
                    self._counts.dropped += 1
            self._changed.notify_all()

    def finish(self) -> None:
        """Says that nothing more comes."""
        rest = [(track, track.column.finish(self.duration)) for track in self._tracks.values()
                ] if self.duration is not None else []
        with self._changed:
            for track, block in rest:
                track.ring.add(*block)
            self.over = True
            self._changed.notify_all()

    def wait(self, stop: threading.Event) -> None:
        """Returns as soon as all windows that are ready have been taken, where all are judged."""
        with self._changed:
            while self.keeps and not stop.is_set() and self._ready(self._next) is not None:
                self._changed.wait(0.2)

    def stalled(self) -> set[str]:
        """The columns of which nothing has come for too long; of a file none."""
        if self.duration is not None or self.over:
            return set()
        limit = time.monotonic() - self._schedule.stall
        return {name for name, track in self._tracks.items() if track.arrived < limit}

    @property
    def is_frozen(self) -> bool:
        """Whether nothing comes of any column, as far as half the time tells after which one has stalled."""
        limit = time.monotonic() - self._schedule.stall / 2
        return all(track.arrived < limit for track in self._tracks.values())

    def newest(self) -> Window | None:
        """The newest window that is ready, or where all are judged the oldest; None where none is.

        Windows before it are dropped, and what was seen and what was not is counted.
        """
        with self._changed:
            number = self._next
            present = self._ready(number)
            if not self.keeps:
                for newer in range(self._latest(), number, -1):
                    there = self._ready(newer)
                    if there is not None:
                        number, present = newer, there
                        break
            if present is not None:
                return self._taken(number, present)
            if self.over and not self.drained:
                self._drain()
            return None

    def close(self) -> None:
        """No window will be taken: what waits is dropped, and what still comes is not counted."""
        with self._changed:
            self.over = True
            self._drain()
            self._changed.notify_all()

    def _drain(self) -> None:
        self._settle(float('inf'), float('inf'))
        self.drained = True

    def _taken(self, number: int, present: set[str]) -> Window:
        begin = number * self._schedule.stride
        end = begin + self._schedule.window
        frames, sizes = {}, {}
        for name in present:
            track = self._tracks[name]
            frames[name] = track.ring.take(int(begin * track.builder.rate + _NEAR) - 1, track.end_of(begin, end))
            sizes[name] = track.column.size
        self._counts.windows += 1
        self._counts.windows_dropped += number - self._next
        self._next = number + 1
        self._settle(begin, end)
        self._forget(self._next * self._schedule.stride - 1)
        self._changed.notify_all()
        return Window(begin, frames, sizes)

    def _latest(self) -> int:
        """No window after this one can be ready."""
        covered = max((track.ring.end / track.builder.rate for track in self._tracks.values()), default=0.0)
        latest = int((covered - self._schedule.window) // self._schedule.stride) + 1
        if self._windows is not None:
            latest = min(latest + (self.over and self._windows), self._windows - 1)
        return latest

    def _ready(self, number: int) -> set[str] | None:
        """The columns that a window is judged with; None where it is not to be judged, or not yet."""
        if self._windows is not None and number >= self._windows:
            return None
        begin = number * self._schedule.stride
        end, there, stalled = begin + self._schedule.window, set(), self.stalled()
        for name, track in self._tracks.items():
            whole = track.covers(begin, end)
            partly = self.over and self.duration is not None and track.ring.end > begin * track.builder.rate
            if whole or partly:
                if track.ring.first <= round(begin * track.builder.rate):
                    there.add(name)
            elif self.over:
                if track.ring.end > begin * track.builder.rate:
                    return None  # It was cut off within the window: neither shown whole nor absent.
            elif name not in stalled:
                return None
        return there or None

    def _settle(self, begin: float, end: float) -> None:
        """Counts the frames before the end of a window that was judged."""
        while self._waiting and self._waiting[0][0] < end - _NEAR:
            seconds, self.arrived = self._waiting.popleft()
            if seconds >= begin - _NEAR:
                self._counts.used += 1
            else:
                self._counts.dropped += 1

    def _forget(self, seconds: float) -> None:
        for track in self._tracks.values():
            track.ring.forget(int(seconds * track.builder.rate))
