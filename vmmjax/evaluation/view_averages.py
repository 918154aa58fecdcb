"""What the scores of a clip's test views come to: the mean of their logits, or of their probabilities.

The official TSM and I3D average logits; mmaction2 averages probabilities (`average_clips='prob'`). Whichever it is, the
result is logits, so that whatever reads scores reads both alike: those of the mean probability are its logarithm.
"""

from collections.abc import Callable

import numpy as np
from scipy import special

# (scores float64 (V, ...) of views, those of a clip one after another; starts int64 (N,), the first view of each clip)
# -> float64 (N, ...).
Average = Callable[[np.ndarray, np.ndarray], np.ndarray]


def logits(scores: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The mean of each clip's scores, see `Average`."""
    return np.add.reduceat(scores, starts, axis=0) / _counts(scores, starts)


def probabilities(scores: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Of classes of which one is right: the logarithm of the mean of the softmax over the last axis, see `Average`."""
    return _log_mean(special.log_softmax(scores, axis=-1), starts)


def chances(scores: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Of names each right or wrong: the logit of the mean of the sigmoid, see `Average`."""
    return _log_mean(special.log_expit(scores), starts) - _log_mean(special.log_expit(-scores), starts)


def _log_mean(logs: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The logarithm of the mean of what these are the logarithms of; nothing underflows."""
    counts = _counts(logs, starts)
    highest = np.maximum.reduceat(logs, starts, axis=0)
    powers = np.exp(logs - np.repeat(highest, counts.ravel(), axis=0))
    return highest + np.log(np.add.reduceat(powers, starts, axis=0) / counts)


def _counts(scores: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Views of each clip, int64 (N, 1, ...)."""
    return np.diff(starts, append=len(scores)).reshape(-1, *[1] * (scores.ndim - 1))
