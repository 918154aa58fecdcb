"""One time for a file whose time stamps begin anew: recordings that were joined byte for byte, or a damaged stamp.

Containers made for broadcasting (MPEG transport and program streams, Ogg) may be joined so: a player goes on.
"""

from dataclasses import dataclass

import av

# Seconds that a stamp may lie before the one it follows: decoding times do not go back.
_BACK = 0.1
# Seconds that a stamp of a broadcast may lie after the one it follows, and how many of the track's longest steps so
# far, beyond which its clock was set: FFmpeg's `-dts_delta_threshold`. A slide shown for minutes is no such leap.
_FORWARD, _STEPS = 10.0, 4
# Seconds by which tracks may differ where they go on together.
_TOGETHER = 1.0


@dataclass
class _Track:
    """Seconds, as stored.

    Attributes:
      last: the newest stamp.
      due: when its packet ends, where the next should begin.
      due_before: the same of the packet before it.
      offset: what is added.
      offset_before: the same of the packet before it.
      longest: the longest step between two stamps so far; 0 before the second.
    """

    last: float
    due: float
    due_before: float
    offset: float = 0.0
    offset_before: float = 0.0
    longest: float = 0.0


class Timeline:
    """Finds where a file's time begins anew, and puts what follows behind what was before.

    Its tracks stay together: a track that leaps after another takes the other's offset if it fits. Of a single stamp
    that leaps and comes back nothing remains.

    Attributes:
      leaps: (from, to), seconds as stored, of every place.
    """

    def __init__(self, *, forward: bool) -> None:
        """`forward` says whether a leap forward is one, too, and not a long picture."""
        self.leaps: list[tuple[float, float]] = []
        self._forward = forward
        self._offsets = [0.0]
        self._tracks: dict[int, _Track] = {}

    def offset(self, packet: av.Packet) -> float:
        """Seconds to be added to the stamps of a packet; all packets of the tracks are given, in the file's order."""
        stamp = packet.dts
        if stamp is None or packet.time_base is None:
            found = self._tracks.get(packet.stream_index)
            return found.offset if found else 0.0
        now, lasts = float(stamp * packet.time_base), float((packet.duration or 0) * packet.time_base)
        track = self._tracks.get(packet.stream_index)
        if track is None:
            self._tracks[packet.stream_index] = _Track(now, now + lasts, now)
            return 0.0
        step, offset = now - track.last, track.offset
        if self._leaps(track, step):
            if abs(now - track.due_before) < _TOGETHER:  # The stamp before was the damaged one.
                offset = track.offset_before
            else:
                offset = self._behind(track.due + track.offset, now)
            self.leaps.append((track.last, now))
        else:
            track.longest = max(track.longest, step)
        track.last, track.due, track.due_before = now, now + lasts, track.due
        track.offset, track.offset_before = offset, track.offset
        return offset

    def _leaps(self, track: _Track, step: float) -> bool:
        if step < -_BACK:
            return True
        return self._forward and track.longest > 0 and step > max(_FORWARD, _STEPS * track.longest)

    def _behind(self, due: float, now: float) -> float:
        """The offset that another track has already, or one by which `now` becomes `due`."""
        fitting = min(self._offsets, key=lambda offset: abs(now + offset - due))
        if abs(now + fitting - due) < _TOGETHER:
            return fitting
        self._offsets.append(due - now)
        return due - now
