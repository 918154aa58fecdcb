"""Sources: each is read by a thread of its own, which never ends for what goes wrong with it."""

import dataclasses
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from av.container import InputContainer
from av.video.stream import VideoStream

from vmmjax.errors import UserError
from vmmjax.media import live
from vmmjax.media.container import (
    MediaError,
    clock_zero,
    decode,
    has_times,
    nominal_rate,
    open_media,
    packets,
    picture_delay,
    picture_stream,
    read_streams,
)
from vmmjax.prepare import catalog_builder
from vmmjax.prepare.columns import ColumnBuilder
from vmmjax.serving.live.columns import reads_pictures
from vmmjax.serving.live.evidence import Recorder
from vmmjax.serving.live.session import Counts, Schedule, Session

# Seconds until a connection is tried again: doubled from the first to the last, anew after one that lasted.
_FIRST, _LAST = 1.0, 30.0
_LASTED = 10.0
# Seconds that sound and pictures of one stream may lie apart; beyond that their clocks are set by their arrival.
_APART = 1.0
# Seconds without anything after which a connection is given up.
_PATIENCE = 5.0
# Seconds in which a file of a folder does not change, so that it is whole.
_WHOLE = 2.0
CONNECTING, RUNNING, STALLED, ENDED = 'connecting', 'running', 'stalled', 'ended'


@dataclasses.dataclass(frozen=True)
class Reading:
    """What is read of every source.

    Attributes:
      columns: of the run.
      schedule: of the windows.
      speed: how fast files are played; 0 for as fast as they are judged, without dropping a window.
      keep: seconds of packets that are kept for a clip of an alarm.
      after: seconds that such a clip goes on after it.
    """

    columns: Mapping[str, ColumnBuilder]
    schedule: Schedule
    speed: float
    keep: float
    after: float


class Source(threading.Thread):
    """A stream, a file, or a folder that grows.

    Attributes:
      address: as it was given, without its name.
      state: `connecting`, `running`, `stalled` or `ended`.
      counts: of frames and windows.
      faults: how often it was lost.
      sessions: pairs of a session and the recorder of its packets, the one that is judged first; only the newest may
        still be read.
      stalled: the columns that are absent since nothing comes.
      delay: seconds from the arrival of the newest frame that was judged until it was.
    """

    def __init__(self, given: str, reading: Reading, changed: threading.Condition, stop: threading.Event,
                 say: Callable[[str], None]) -> None:
        """Takes an address; `start` begins to read.

        Args:
          given: an address, a file or a folder, perhaps with a name before it: `door=rtsp://camera/1`.
          reading: what is read.
          changed: is notified of whatever changes.
          stop: ends the thread.
          say: is told in one line what goes wrong.
        """
        name, self.address = split_name(given)
        super().__init__(name=name, daemon=True)
        self.state, self.counts, self.faults, self.delay = CONNECTING, Counts(), 0, 0.0
        self.sessions: list[tuple[Session, Recorder]] = []
        self.stalled: set[str] = set()
        self._reading, self._changed, self._stop_reading = reading, changed, stop
        self._say = lambda text: say(f'{name}: {text}')
        self._fault = ''

    def run(self) -> None:
        """Reads until it is stopped, or a file has ended."""
        try:
            if live.is_address(self.address):
                self._connect()
            else:
                path = Path(self.address)
                for file in _new_files(path, self._stop_reading) if path.is_dir() else iter([path]):
                    self._play(file, 0.0 if path.is_dir() else self._reading.speed)
        finally:
            self._become(ENDED)

    def _connect(self) -> None:
        pause = _FIRST
        while not self._stop_reading.is_set():
            self._become(CONNECTING)
            began = time.monotonic()
            try:
                with live.open_stream(self.address, max(self._reading.schedule.stall, _PATIENCE)) as container:
                    self._read(container, speed=1.0)
                reason = 'the stream ended'
            except live.StreamLost as error:
                reason = str(error)
            except Exception as error:  # A thread that dies would be missed by nobody.
                reason = f'{type(error).__name__}: {error}'
            if self._stop_reading.is_set():
                return
            pause = _FIRST if time.monotonic() - began > _LASTED else pause
            self._lost(reason)
            self._stop_reading.wait(pause)
            pause = min(2 * pause, _LAST)

    def _lost(self, reason: str) -> None:
        """One line a fault, however often it is tried again in vain."""
        if not self._fault:
            with self._changed:
                self.faults += 1
            self._say(f'{reason}; it is tried again, every {_LAST:g} s at last')
        self._fault = reason

    def _play(self, file: Path, speed: float) -> None:
        try:
            probe = catalog_builder.probed(file)
            if isinstance(probe, str):
                raise MediaError(file, probe)
            with open_media(file) as container:
                # One that is judged at any speed was recorded before it was last changed.
                wall = time.time() if speed else file.stat().st_mtime - probe.duration
                self._read(container, speed=speed, duration=probe.duration, wall=wall)
        except Exception as error:  # The files that follow are read all the same.
            with self._changed:
                self.faults += 1
            self._say(str(error) or type(error).__name__)

    def _read(self, container: InputContainer, *, speed: float, duration: float | None = None,
              wall: float | None = None) -> None:
        """Reads a container to its end."""
        pictures = picture_stream(container)
        zero = clock_zero(container)
        if duration is not None and pictures is not None:
            zero += picture_delay(container, pictures)
        tracks = read_streams(container)
        there = {isinstance(track, VideoStream) for track in tracks}
        columns = {name: column for name, column in self._reading.columns.items() if reads_pictures(column) in there}
        if not columns:
            raise live.StreamLost(f'it has nothing that the run reads ({", ".join(self._reading.columns)})')
        aspect = float(pictures.sample_aspect_ratio or 1) if pictures is not None else 1.0
        session = Session(columns, self._reading.schedule, self.counts, self._changed, speed=speed,
                          wall=time.time() if wall is None else wall, duration=duration, aspect=aspect)
        recorder = Recorder(container, zero, keep=self._reading.keep, after=self._reading.after, say=self._say)
        with self._changed:
            self.sessions.append((session, recorder))
        clock = _Clock(zero, pictures, sets=duration is None)
        # What comes a segment at a time is shown as it was recorded, as a file is.
        paced = speed > 0 and (duration is not None or container.format.name == 'hls')
        began = time.monotonic()
        try:
            for packet in packets(container, tracks):
                recorder.add(packet)
                for frame in decode(packet):
                    is_picture = isinstance(packet.stream, VideoStream)
                    at = clock.time(frame.time, is_picture)
                    if at is None:
                        continue
                    if self.state == CONNECTING:
                        self._become(RUNNING)
                    if paced:
                        self._stop_reading.wait(max(0.0, began + at / speed - time.monotonic()))
                    session.take(at, frame, is_picture)
                    session.wait(self._stop_reading)
                if self._stop_reading.is_set():
                    break
        finally:
            session.finish()
            recorder.finish()

    def _become(self, state: str) -> None:
        if state == RUNNING and self._fault:
            self._fault = ''
            self._say('running again')
        with self._changed:
            self.state = state
            self._changed.notify_all()


class _Clock:
    """Times of frames in seconds from the clock's zero."""

    def __init__(self, zero: float, pictures: VideoStream | None, sets: bool) -> None:
        """Begins a container; `sets` says whether sound that lies far from the pictures is set by its arrival."""
        self._zero, self._sets, self._shift = zero, sets and pictures is not None, 0.0
        self._timed = pictures is None or has_times(pictures.container)
        self._step = 0.0 if pictures is None else 1 / nominal_rate(pictures)
        self._last: float | None = None

    def time(self, stored: float | None, is_picture: bool) -> float | None:
        """Of a frame with a stored time; None where it has none."""
        if is_picture and not self._timed:
            stored = self._zero + (0.0 if self._last is None else self._last + self._step)
        if stored is None:
            return None
        at = stored - self._zero
        if is_picture:
            self._last = at
            return at
        if self._sets:
            if self._last is None:
                return None  # Before the first picture there is no clock.
            if abs(at + self._shift - self._last) > _APART:
                self._shift = self._last - at
        return at + self._shift


def check(given: Sequence[str]) -> None:
    """Refuses sources that are none.

    Raises:
      UserError: for a file that is not there, and for two sources of one name.
    """
    names = []
    for name, address in map(split_name, given):
        if not live.is_address(address) and not Path(address).exists():
            raise UserError(f'{address}: there is no such file or folder, and it is no address of a stream; those '
                            f'begin with {", ".join(f"{scheme}://" for scheme in live.PROTOCOLS)}.')
        if name in names:
            raise UserError(f'Two sources are called {name}; put a name before one: NAME=SOURCE.')
        names.append(name)


def split_name(given: str) -> tuple[str, str]:
    """The name of a source, which is its address where none is given, and the address."""
    found = re.match(r'([\w.-]+)=(.+)', given)
    if found and not Path(given).exists():
        return found[1], found[2]
    return live.without_password(given), given


def _new_files(folder: Path, stop: threading.Event) -> Iterator[Path]:
    """The files that come into a folder, each when it is whole."""
    known = set(folder.iterdir())
    sizes: dict[Path, tuple[tuple[int, int], float]] = {}
    while not stop.wait(0.2):
        try:
            there = set(folder.iterdir())
        except OSError:  # It is away for a while, such as one of another machine.
            continue
        known &= there
        for file in sorted(there - known):
            try:
                found = file.stat()
            except OSError:
                continue
            state = found.st_size, found.st_mtime_ns
            before, since = sizes.get(file, (None, 0.0))
            if state != before:
                sizes[file] = state, time.monotonic()
            elif time.monotonic() - since > _WHOLE:
                known.add(file)
                del sizes[file]
                if file.is_file() and not file.name.startswith('.'):
                    yield file
