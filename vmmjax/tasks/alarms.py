"""From probabilities over time to alarms with a start and an end."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_SAME = 1e-4  # Seconds; moments that are nearer to each other touch.


class Span(NamedTuple):
    """A stretch of time, in seconds, and a probability."""

    start: float
    end: float
    value: float

    def meets(self, other: 'Span') -> bool:
        """Whether they overlap."""
        return min(self.end, other.end) - max(self.start, other.start) > _SAME


def timeline(probabilities: np.ndarray, mask: np.ndarray, windows: np.ndarray) -> list[Span]:
    """One probability for every moment of a clip that some window shows: the mean of the tokens that see it.

    Args:
      probabilities: float64 (W, N), of the tokens of W windows; token n has the n-th of N equal parts.
      mask: bool (W, N), tokens that stand for something.
      windows: float64 (W, 2), starts and lengths in seconds; they may overlap.

    Returns:
      Moments in order, apart from each other; between some there may be time that no token saw.
    """
    count = probabilities.shape[1]
    parts = windows[:, :1] + windows[:, 1:] * np.arange(count + 1) / count
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


def alarms(moments: Sequence[Span], high: float, low: float, minimum: float) -> list[Span]:
    """The stretches of moments of at least `low` in which one is at least `high` (hysteresis; Canny 1986).

    Args:
      moments: in order, see `timeline`; time between them ends an alarm.
      high: probability.
      low: probability.
      minimum: seconds; shorter ones are dropped.

    Returns:
      Alarms in order, each with its highest probability.
    """
    found: list[Span] = []
    for moment in moments:
        if moment.value < low:
            continue
        if found and moment.start - found[-1].end < _SAME:
            found[-1] = Span(found[-1].start, moment.end, max(found[-1].value, moment.value))
        else:
            found.append(moment)
    return [span for span in found if span.value >= high and span.end - span.start >= minimum - _SAME]
