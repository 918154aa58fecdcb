"""Whether a model of several streams is worse than with one of them, by its own predictions."""

import numpy as np

from vmmjax.evaluation import intervals
from vmmjax.evaluation.statistics import Scores


def remarks(scores: Scores) -> list[str]:
    """A sentence where all streams together are right for fewer clips than one stream, by more than chance explains.

    The clips that have every stream are told with all of them and with each alone by the same model; the interval of
    the paired difference is `intervals.difference`. It is the best stream that is named.

    Args:
      scores: of a split, with every subset of the streams.

    Returns:
      One sentence, or none: where no stream is better, or the scores are not of classes.
    """
    streams = [name for name in scores.present if name in scores.scores]
    if len(streams) < 2 or not scores.are_of_classes:
        return []
    fused = scores.right(next(iter(scores.scores)))
    alone = {name: scores.right(name) for name in streams}
    known = np.logical_and.reduce([~np.isnan(right) for right in (fused, *alone.values())])
    if not known.any():
        return []
    best = max(streams, key=lambda name: float(alone[name][known].mean()))
    difference = intervals.difference(fused[known] - alone[best][known], scores.group[known])
    if difference.missing or difference.high >= 0:
        return []
    best_mean = alone[best][known].mean()
    return [f'All streams together are right for {100 * fused[known].mean():.1f} % of {known.sum()} clips, {best} '
            f'alone for {100 * best_mean:.1f} %: {100 * difference.mean:+.1f} points ({100 * difference.low:+.1f} to '
            f'{100 * difference.high:+.1f}, {difference.label}). See "A fused row below a stream" in '
            f'docs/evaluation.md.']
