"""Clips of what happened: the packets of a source from before an alarm to after it, as they came."""

import collections
import dataclasses
import io
import threading
from collections.abc import Callable
from pathlib import Path

import av
from av.container import InputContainer, OutputContainer

from vmmjax import atomic
from vmmjax.media.container import read_streams, seconds

# Seconds of a clip at most: an alarm may last for days.
_LONGEST = 600.0
_MP4 = {'h264', 'hevc', 'av1', 'mpeg4', 'aac', 'mp3', 'ac3'}


@dataclasses.dataclass
class _Clip:
    """A clip that is being written."""

    path: Path
    partial: Path
    container: OutputContainer
    zero: float  # Seconds on the source's clock.
    end: float  # Likewise; infinite while the alarm lasts.


class Recorder:
    """The newest packets of one connection, and the clips that are made of them.

    Packets are added by the source's thread, clips are asked for by the one that judges.
    """

    def __init__(self, container: InputContainer, zero: float, *, keep: float, after: float,
                 say: Callable[[str], None]) -> None:
        """Begins a connection.

        Args:
          container: that is read.
          zero: the container's time at the clock's zero, in seconds.
          keep: seconds of packets that are kept.
          after: seconds that a clip goes on after its alarm.
          say: is told why a clip cannot be written.
        """
        streams = read_streams(container)
        self._indices = [stream.index for stream in streams]
        self._main = next(iter(self._indices), -1)
        self._zero, self._keep, self._after, self._say = zero, keep, after, say
        self.suffix = '.mp4' if {stream.codec_context.name for stream in streams} <= _MP4 else '.mkv'
        self._format = 'mp4' if self.suffix == '.mp4' else 'matroska'
        # An alarm may be found after the container was closed, and a stream of a closed one is no template.
        self._templates, self._fault = av.open(io.BytesIO(), 'w', format=self._format), ''
        try:
            for stream in streams:
                self._templates.add_stream_from_template(stream)
        except (av.error.FFmpegError, ValueError) as error:
            self._fault = str(error)
        self._packets: collections.deque[tuple[float, av.Packet]] = collections.deque()
        self._clips: dict[str, _Clip] = {}
        self._lock = threading.Lock()

    def add(self, packet: av.Packet) -> None:
        """Takes a packet of the container."""
        if packet.dts is None or not packet.size or packet.stream_index not in self._indices:
            return
        now = seconds(packet.dts, packet.stream) - self._zero
        with self._lock:
            self._packets.append((now, packet))
            while self._packets[0][0] < now - self._keep:
                self._packets.popleft()
            for name, clip in list(self._clips.items()):
                if now > min(clip.end, clip.zero + _LONGEST):
                    self._close(name)
                else:
                    self._write(name, packet)

    def begin(self, name: str, path: Path, start: float) -> None:
        """Begins a clip: at the last key frame before `start`, seconds on the clock, that is still here."""
        if self._fault:
            self._say(f'the clip {path} cannot be written: {self._fault}')
            return
        with self._lock:
            first: int | None = None
            for place, (now, packet) in enumerate(self._packets):
                if packet.stream_index == self._main and packet.is_keyframe and (now <= start or first is None):
                    first = place
            partial = path.with_name(f'.{path.name}{atomic.SUFFIX}')
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                container = av.open(str(partial), 'w', format=self._format)
                for stream in self._templates.streams:
                    container.add_stream_from_template(stream)
            except Exception as error:  # The alarm is told whatever is wrong with its clip.
                self._say(f'the clip {path} cannot be written: {error}')
                return
            packets = list(self._packets)[first:]
            zero = packets[0][0] if packets else start
            self._clips[name] = _Clip(path, partial, container, zero, float('inf'))
            for now, packet in packets:
                if now >= zero:
                    self._write(name, packet)

    def end(self, name: str, end: float) -> None:
        """Lets a clip end some seconds after its alarm, which ended at `end` on the clock."""
        with self._lock:
            if name in self._clips:
                self._clips[name].end = end + self._after

    def finish(self) -> None:
        """Ends all clips: nothing more comes."""
        with self._lock:
            for name in list(self._clips):
                self._close(name)

    def _write(self, name: str, packet: av.Packet) -> None:
        clip = self._clips[name]
        try:
            clip.container.mux(self._copy(packet, clip))
        except (av.error.FFmpegError, ValueError) as error:
            self._say(f'the clip {clip.path} cannot be written on: {error}')
            self._close(name)

    def _copy(self, packet: av.Packet, clip: _Clip) -> av.Packet:
        """Muxing changes a packet, and several clips may have it."""
        copy = av.Packet(bytes(packet))
        shift = round((clip.zero + self._zero) / packet.time_base)
        copy.time_base, copy.is_keyframe, copy.duration = packet.time_base, packet.is_keyframe, packet.duration or 0
        copy.dts = (packet.dts or 0) - shift  # What is kept has one.
        copy.pts = None if packet.pts is None else packet.pts - shift
        copy.stream = clip.container.streams[self._indices.index(packet.stream_index)]
        return copy

    def _close(self, name: str) -> None:
        clip = self._clips.pop(name)
        try:
            clip.container.close()
            clip.partial.replace(clip.path)
        except (av.error.FFmpegError, OSError) as error:
            self._say(f'the clip {clip.path} cannot be written: {error}')
            clip.partial.unlink(missing_ok=True)
