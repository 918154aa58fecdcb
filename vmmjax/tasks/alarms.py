"""From probabilities over time to alarms with a start and an end."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_SAME = 1e-4  # Seconds; moments that are nearer to each other touch.


class Levels(NamedTuple):
    """What a model says over time, of which an alarm may be raised.

    Attributes:
      values: float64 (W, N), of W windows; value n is that of the n-th of N equal parts of the window.
      mask: bool (W, N), those that stand for something.
    """

    values: np.ndarray
    mask: np.ndarray


def of_windows(names: Sequence[str], values: np.ndarray) -> dict[str, Levels]:
    """Levels of outputs that stand for a whole window, by name; float64 (W, C) of C names."""
    there = np.ones((len(values), 1), bool)
    return {str(name): Levels(values[:, place:place + 1], there) for place, name in enumerate(names)}


class Span(NamedTuple):
    """A stretch of time, in seconds, and a value: a probability, or a number that a model says."""

    start: float
    end: float
    value: float

    def meets(self, other: 'Span') -> bool:
        """Whether they overlap."""
        return min(self.end, other.end) - max(self.start, other.start) > _SAME


def timeline(probabilities: np.ndarray, mask: np.ndarray, windows: np.ndarray, *, end: float = np.inf) -> list[Span]:
    """One probability for every moment of a clip that some window shows: the mean of the tokens that see it.

    Args:
      probabilities: float64 (W, N), of the tokens of W windows; token n has the n-th of N equal parts.
      mask: bool (W, N), tokens that stand for something.
      windows: float64 (W, 2), starts and lengths in seconds; they may overlap.
      end: seconds at which the clip ends; what a window shows after it is padding, and no moment.

    Returns:
      Moments in order, apart from each other; between some there may be time that no token saw.
    """
    count = probabilities.shape[1]
    parts = np.minimum(windows[:, :1] + windows[:, 1:] * np.arange(count + 1) / count, end)
    first, last, value = parts[:, :-1][mask], parts[:, 1:][mask], probabilities[mask]
    edges = np.unique(np.round(np.concatenate([first, last]), 6))
    # Every token adds its probability from its first edge on, and takes it away at its last.
    sums, seen = np.zeros(len(edges) + 1), np.zeros(len(edges) + 1)
    for ends, sign in ((first, 1.0), (last, -1.0)):
        places = np.searchsorted(edges, np.round(ends, 6))
        np.add.at(sums, places, sign * value)
        np.add.at(seen, places, sign)
    total, tokens = np.cumsum(sums), np.rint(np.cumsum(seen))
    return [Span(float(edges[i]), float(edges[i + 1]), float(total[i] / tokens[i]))
            for i in range(len(edges) - 1) if tokens[i] and edges[i + 1] - edges[i] > _SAME]


class Rules(NamedTuple):
    """When an alarm begins and ends.

    Attributes:
      high: an alarm has a moment of at least this value.
      low: it lasts as long as the value is at least this (hysteresis; Canny 1986).
      minimum: seconds; shorter ones are none.
      cool_down: seconds after the end of an alarm in which no other begins. What lasts longer begins one then.
    """

    high: float = 0.5
    low: float = 0.3
    minimum: float = 0.0
    cool_down: float = 0.0


class Tracker:
    """Finds alarms while moments come."""

    def __init__(self, rules: Rules) -> None:
        """Takes the rules; there is no alarm yet."""
        self._rules = rules
        self._open: Span | None = None  # What may be or become an alarm.
        self._reach = self._ready = -np.inf  # Until when it may go on; from when another may begin.

    @property
    def alarm(self) -> Span | None:
        """The alarm that lasts, as far as it is known."""
        found, rules = self._open, self._rules
        if found is None or not found.value >= rules.high or found.end - found.start < rules.minimum - _SAME:
            return None
        return found

    def add(self, moment: Span) -> Span | None:
        """Takes the next moment, and returns the alarm that ended before it, if one did."""
        low = not moment.value >= self._rules.low  # Nor is NaN high.
        touches = moment.start - self._reach < _SAME
        ended = self.finish() if low or not touches else None
        if not low and self._open is not None:
            self._open = Span(self._open.start, moment.end, max(self._open.value, moment.value))
        elif not low and moment.start > self._ready - _SAME:
            self._open = moment
        self._reach = max(self._reach, moment.end)
        return ended

    def pass_over(self, start: float, end: float) -> None:
        """From `start` to `end`, in seconds, nobody has looked: that neither ends an alarm nor begins one."""
        if start - self._reach < _SAME:
            self._reach = max(self._reach, end)

    def finish(self) -> Span | None:
        """Ends the alarm that lasts, and returns it, if there is one."""
        ended, self._open = self.alarm, None
        if ended is not None:
            self._ready = ended.end + self._rules.cool_down
        return ended


def alarms(moments: Sequence[Span], rules: Rules) -> list[Span]:
    """The stretches of moments that are alarms.

    Args:
      moments: in order, see `timeline`; time between them ends an alarm.
      rules: in the unit of the moments' values.

    Returns:
      Alarms in order, each with its highest value.
    """
    tracker = Tracker(rules)
    found = [tracker.add(moment) for moment in moments]
    return [alarm for alarm in (*found, tracker.finish()) if alarm is not None]


class Timeline:
    """What `timeline` gives for all windows of a clip, while they come: moments that no later window will change."""

    def __init__(self) -> None:
        """Begins a clip."""
        self._windows: list[tuple[np.ndarray, np.ndarray, tuple[float, float]]] = []
        self._told = -np.inf

    def add(self, values: np.ndarray, mask: np.ndarray, start: float, length: float, until: float) -> list[Span]:
        """Takes a window and returns the moments up to `until`, seconds, where the next window begins at the earliest.

        Args:
          values: float64 (N,), of the window's tokens.
          mask: bool (N,).
          start: seconds, of the window.
          length: seconds.
          until: seconds; infinity after the last window.
        """
        self._windows.append((values, mask, (start, length)))
        return self.flush(until)

    def flush(self, until: float = np.inf) -> list[Span]:
        """The moments up to `until`, see `add`."""
        if not self._windows:
            return []
        every = timeline(*(np.stack(part) for part in zip(*self._windows, strict=True)))
        cut = [Span(max(moment.start, self._told), min(moment.end, until), moment.value) for moment in every]
        self._told = until
        self._windows = [window for window in self._windows if sum(window[2]) > until + _SAME]
        return [moment for moment in cut if moment.end - moment.start > _SAME]
