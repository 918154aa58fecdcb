"""What is chosen of a long video for its summary, and how good that is: segments of a clip, their scores, their share.

A clip is cut into segments of equal length, the last one shorter. Whatever scores them (a model, motion, chance), the
same rule chooses, so that scores compare.
"""

import numpy as np

_SAME = 1e-6  # Seconds.


def edges(seconds: float, length: float) -> np.ndarray:
    """Where the segments of a clip begin and end, float64 (S + 1,); a rest shorter than half of one joins the last."""
    count = max(1, int(seconds / length + 0.5))
    return np.append(np.arange(count) * length, seconds)


def integral(spans: np.ndarray, values: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The integral over time of what is said of stretches of it, up to given times; memory is linear in their numbers.

    Args:
      spans: float64 (M, 2), starts and ends in seconds, at least one; where some overlap their values add up.
      values: float64 (M,).
      times: float64 (T,), seconds.

    Returns:
      float64 (T,).
    """
    knots = spans.T.ravel()
    order = np.argsort(knots, kind='stable')
    knots, slopes = knots[order], np.cumsum(np.concatenate([values, -values])[order])
    heights = np.concatenate([[0.0], np.cumsum(slopes[:-1] * np.diff(knots))])
    return np.interp(times, knots, heights)


def means(spans: np.ndarray, values: np.ndarray, cut: np.ndarray) -> np.ndarray:
    """The mean of what is said of stretches of time, over each segment.

    Args:
      spans: float64 (M, 2), starts and ends in seconds, apart from each other, at least one.
      values: float64 (M,).
      cut: float64 (S + 1,), see `edges`.

    Returns:
      float64 (S,); NaN where nothing is said of any part of a segment.
    """
    total = np.diff(integral(spans, np.ones(len(spans)), cut))
    found = np.full(len(total), np.nan)
    np.divide(np.diff(integral(spans, values, cut)), total, out=found, where=total > _SAME)
    return found


def chosen(scores: np.ndarray, cut: np.ndarray, share: float) -> np.ndarray:
    """The segments with the highest scores that fit into a share of the time, one at least.

    Segments are of one length, so that taking the best first is the best choice (a knapsack of equal weights). Of
    equal ones the earlier is taken; one without a score (NaN) is not, unless nothing has one.

    Args:
      scores: float64 (S,).
      cut: float64 (S + 1,).
      share: of the clip's length, 0 to 1.

    Returns:
      bool (S,).
    """
    lengths, taken = np.diff(cut), np.zeros(len(scores), bool)
    left = share * (cut[-1] - cut[0]) + _SAME
    order = np.argsort(-np.nan_to_num(scores, nan=-np.inf), kind='stable')
    for place in order[np.isfinite(scores[order])].tolist():
        if lengths[place] <= left:
            taken[place], left = True, left - lengths[place]
    if not taken.any():
        taken[order[0]] = True
    return taken


def kept(importance: np.ndarray, cut: np.ndarray, taken: np.ndarray) -> float:
    """How much of a clip's importance, in seconds, the chosen segments (S,) hold, 0 to 1; NaN where there is none."""
    seconds = importance * np.diff(cut)
    return float(seconds[taken].sum() / seconds.sum()) if seconds.sum() > _SAME else np.nan


def f1(importance: np.ndarray, cut: np.ndarray, taken: np.ndarray) -> float:
    """The harmonic mean of `kept` and the importance of the chosen time (Zhang et al. 2016, section 4.1), 0 to 1."""
    recall = kept(importance, cut, taken)
    lengths = np.diff(cut)
    precision = float((importance * lengths)[taken].sum() / lengths[taken].sum())
    return 2 * precision * recall / (precision + recall) if precision + recall > 0 else 0.0 * recall


def tau(scores: np.ndarray, importance: np.ndarray) -> float:
    """Kendall's rank correlation of scores and importance over segments, -1 to 1.

    Of the kind b, which allows for ties (Otani et al. 2019, section 5, compare summaries so); NaN where one of the two
    says the same of all segments.
    """
    from scipy import stats  # Takes a second to import.

    there = np.isfinite(scores)
    if len(np.unique(scores[there])) < 2 or len(np.unique(importance[there])) < 2:
        return np.nan
    return float(stats.kendalltau(scores[there], importance[there]).statistic)


def uniform(segments: int, cut: np.ndarray, share: float) -> np.ndarray:
    """Segments at equal distances, as many as fit: bool (S,)."""
    count = max(1, int(share * (cut[-1] - cut[0]) / (cut[1] - cut[0]) + _SAME))
    taken = np.zeros(segments, bool)
    taken[((np.arange(count) + 0.5) / count * segments).astype(int)] = True
    return taken


def parts(cut: np.ndarray, taken: np.ndarray) -> list[tuple[float, float]]:
    """The chosen stretches in order, starts and ends in seconds; segments that touch are one."""
    padded = np.concatenate([[False], taken, [False]])
    begins, ends = (np.flatnonzero(padded[1:] & ~padded[:-1]), np.flatnonzero(padded[:-1] & ~padded[1:]))
    return [(float(cut[begin]), float(cut[end])) for begin, end in zip(begins, ends, strict=True)]
