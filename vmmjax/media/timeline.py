"""One time for a file whose time stamps begin anew: recordings that were joined byte for byte, or a damaged stamp.

Containers made for broadcasting (MPEG transport and program streams, Ogg) may be joined so: a player goes on.
"""

from dataclasses import dataclass
from typing import Any

import av

# Seconds that a stamp may lie before the one it follows: decoding times do not go back.
_BACK = 0.1
# Seconds that a stamp of a broadcast may lie after the one it follows, and how many of the track's longest steps so
# far, beyond which its clock was set: FFmpeg's `-dts_delta_threshold`. A slide shown for minutes is no such leap.
_FORWARD, _STEPS = 10.0, 4
# Seconds by which a track may leap before or after another where they go on together.
_TOGETHER = 5.0


def ticks_in_seconds(ticks: int, base: Any) -> float:
    """`float(ticks * base)` to the bit, without making a new fraction: this is done several times a packet.

    Args:
      ticks: of a time stamp.
      base: seconds of a tick, a fraction of PyAV's or of the standard library's, by its version.
    """
    return ticks * base.numerator / base.denominator


@dataclass
class _Track:
    """Seconds, as stored.

    Attributes:
      first: the first stamp.
      last: the newest one.
      due: when its packet ends, where the next should begin.
      due_before: the same of the packet before it.
      part: number of the part of the file that it lies in.
      part_before: the same of the packet before it.
      longest: the longest step between two stamps so far; 0 before the second.
    """

    first: float
    last: float
    due: float
    due_before: float
    part: int = 0
    part_before: int = 0
    longest: float = 0.0


class Timeline:
    """Finds where a file's time begins anew, and puts what follows behind what was before.

    Its tracks stay together: the one that leaps second goes where the first has gone. Of a single stamp that leaps and
    comes back nothing remains.

    Attributes:
      leaps: (from, to), seconds as stored, of every place.
    """

    def __init__(self, main: int, *, forward: bool) -> None:
        """Takes a file of which nothing was read.

        Args:
          main: index of the track in which nothing is to be missing or twice where a part begins: the pictures.
          forward: whether a leap forward is one, too, and not a long picture.
        """
        self.leaps: list[tuple[float, float]] = []
        self._main, self._forward = main, forward
        self._offsets = [0.0]  # Of the parts of the file.
        self._tracks: dict[int, _Track] = {}

    def offset(self, packet: av.Packet) -> float:
        """Seconds to be added to the stamps of a packet; all packets of the tracks are given, in the file's order."""
        track = self._tracks.get(packet.stream_index)
        if packet.dts is None or packet.time_base is None:
            return self._offsets[track.part] if track else 0.0
        base = packet.time_base
        now, lasts = ticks_in_seconds(packet.dts, base), ticks_in_seconds(packet.duration or 0, base)
        if track is None:
            self._tracks[packet.stream_index] = _Track(now, now, now + lasts, now)
            return 0.0
        step, part = now - track.last, track.part
        if self._leaps(track, step):
            self.leaps.append((track.last, now))
            if abs(now - track.due_before) < _BACK + 2 * track.longest:  # The stamp before was the damaged one.
                part = track.part_before
            else:
                part = self._next_part(track, now)
        else:
            track.longest = max(track.longest, step)
        track.last, track.due, track.due_before = now, now + lasts, track.due
        track.part, track.part_before = part, track.part
        return self._offsets[part]

    def _leaps(self, track: _Track, step: float) -> bool:
        if step < -_BACK:
            return True
        return self._forward and track.longest > 0 and step > max(_FORWARD, _STEPS * track.longest)

    def _next_part(self, track: _Track, now: float) -> int:
        """A part that another track has come to already, or a new one behind all that there is."""
        main = self._tracks.get(self._main, track)
        # Tracks begin a part as they began the file.
        end = self._offsets[main.part] + main.due + track.first - main.first
        for part in range(track.part + 1, len(self._offsets)):
            if abs(now + self._offsets[part] - end) < _TOGETHER:
                return part
        self._offsets.append(end - now)
        return len(self._offsets) - 1
