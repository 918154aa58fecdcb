"""What is found of a track while all its packets are read."""

from abc import ABC, abstractmethod
from array import array
from typing import ClassVar

import av
from av.audio.stream import AudioStream
from av.stream import Stream
from av.video.frame import VideoFrame
from av.video.stream import VideoStream

from vmmjax.media.container import decode, has_times, nominal_rate, seconds, shown_size
from vmmjax.media.orientation import Orientation, orientation

_MAX_ASPECT = 64  # Of the sides of a picture.
_MIN_RATE, _MAX_RATE = 1000, 1_000_000  # Samples a second.


class Track(ABC):
    """A picture or a sound track.

    Attributes:
      packets: their number.
      stamps: seconds on the container's clock at which packets begin.
      end: likewise, of the last one.
      turn: how the first picture becomes an upright one.
    """

    kind: ClassVar[str]

    def __init__(self, stream: Stream) -> None:
        """Takes a track that nothing was read of."""
        self.packets, self.stamps, self.end = 0, array('d'), 0.0
        self.turn = Orientation()
        self._stream, self._decoded = stream, False

    def take(self, packet: av.Packet) -> None:
        """Counts a packet, and decodes it if nothing was yet."""
        if packet.size == 0 and packet.dts is None and self._decoded:
            return  # The end of the file; nothing held back is needed.
        self.packets += packet.size > 0
        stamp = self._stamp(packet)
        if stamp is not None:
            self.stamps.append(seconds(stamp, self._stream))
            self.end = max(self.end, self.stamps[-1] + self._lasts(packet))
        if not self._decoded and (frames := decode(packet)):
            self._decoded = True
            if isinstance(frames[0], VideoFrame):
                self.turn = orientation(frames[0])

    @property
    def fault(self) -> str:
        """Why nothing of it can be read, or ''."""
        if not self.packets:
            return f'its {self.kind} track is empty'
        return self._claim() if self._decoded else f'its {self.kind} track cannot be decoded'

    def _stamp(self, packet: av.Packet) -> int | None:
        return packet.dts if packet.pts is None else packet.pts

    def _lasts(self, packet: av.Packet) -> float:
        """Seconds."""
        return seconds(packet.duration or 0, self._stream)

    @abstractmethod
    def _claim(self) -> str:
        """What is beyond belief, or ''."""


class Pictures(Track):
    """A picture track."""

    kind = 'video'

    def __init__(self, stream: VideoStream) -> None:
        super().__init__(stream)
        self._pictures = stream

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as shown, turned and in square pixels."""
        width, height = (round(side) for side in shown_size(self._pictures))
        return (height, width) if self.turn.transposed else (width, height)

    def end_from(self, zero: float) -> float:
        """Where it ends if the clock's zero is at `zero`: without times, its rate tells."""
        return self.end if self.stamps else zero + self.packets / nominal_rate(self._pictures)

    def fps(self, duration: float) -> float:
        """Pictures a second, on average; `duration` in seconds."""
        if not self.stamps:
            return nominal_rate(self._pictures)
        return float(self._pictures.average_rate or self._pictures.guessed_rate or self.packets / duration)

    def _stamp(self, packet: av.Packet) -> int | None:
        """None in an elementary stream, whatever FFmpeg supposes, as it does of the times in an AVI."""
        if not has_times(self._pictures.container):
            return None
        return packet.dts if self._pictures.container.format.name == 'avi' else super()._stamp(packet)

    def _lasts(self, packet: av.Packet) -> float:
        """A container that does not say leaves it to the rate."""
        if packet.duration or not self._pictures.guessed_rate:
            return super()._lasts(packet)
        return 1 / float(self._pictures.guessed_rate)

    def _claim(self) -> str:
        width, height = (round(side) for side in shown_size(self._pictures))
        if max(width, height) > _MAX_ASPECT * min(width, height):
            return f'its pictures claim to be {width} pixels wide and {height} high'
        return ''


class Sound(Track):
    """A sound track."""

    kind = 'audio'

    def __init__(self, stream: AudioStream) -> None:
        super().__init__(stream)
        self.rate = stream.rate

    def _claim(self) -> str:
        if not _MIN_RATE <= self.rate <= _MAX_RATE:
            return f'its sound claims {self.rate} samples a second'
        return ''
