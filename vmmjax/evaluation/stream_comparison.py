"""Whether a model of several streams is worse than with one of them, by its own predictions."""

import numpy as np

from vmmjax.evaluation import intervals
from vmmjax.evaluation.statistics import Scores


def remarks(scores: Scores) -> list[str]:
    """A sentence where all streams together are right for fewer clips than one stream, by more than chance explains.

    The clips that have every stream are told with all of them and with each alone by the same model. All streams are
    compared with each of k streams by `intervals.difference` at the level 1 - 0.05 / k (Bonferroni), so that a sentence
    comes by chance for at most 2.5 % of models, however many streams they have. Of the streams that are better the best
    is named.

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
    level = 1 - (1 - intervals.LEVEL) / len(streams)
    found = {name: intervals.difference(fused[known] - alone[name][known], scores.group[known], level=level)
             for name in streams}
    better = [name for name in streams if not found[name].missing and found[name].high < 0]
    if not better:
        return []
    best = min(better, key=lambda name: found[name].mean)
    gain, right = found[best], 100 * alone[best][known].mean()
    return [f'All streams together are right for {100 * fused[known].mean():.1f} % of {known.sum()} clips, {best} '
            f'alone for {right:.1f} %: {100 * gain.mean:+.1f} points ({100 * gain.low:+.1f} to {100 * gain.high:+.1f}, '
            f'{gain.label}). See "A fused row below a stream" in docs/evaluation.md.']
