"""Metrics of classification and regression: from scores and targets on the host to plain JSON values.

What training needs at every validation (`summary`, `cross_entropy`) is NumPy only; the per-class table and
the confusion matrix come from scikit-learn, of the extra `[evaluation]`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vmmjax import optional
from vmmjax.errors import UserError

FIGURES = ('accuracy', 'top5', 'class_accuracy', 'auc', 'calibration_error')
"""The names of a classifier's figures, but for those of the label's parts."""
_BINS = 15  # Of the calibration error, as published.


def classification(scores: np.ndarray, targets: np.ndarray, classes: Sequence[str]) -> dict[str, Any]:
    """Everything that is told of a single-label classifier.

    Args:
      scores: float (N, C), the higher the likelier; only their order counts. Of equal scores the first wins.
      targets: int (N,), the right class of each clip.
      classes: the C names.

    Returns:
      Plain JSON values: `examples`, `accuracy`, `top5` (the right class is among the min(5, C) best),
      `per_class` (a list of `name`, `precision`, `recall`, `f1`, `support`; a quotient by zero counts as 0)
      and `confusion` (C x C counts, rows = truth, columns = prediction).

    Raises:
      UserError: for scores that are not finite, shapes or targets that do not fit, or no clips at all.
    """
    _check(scores, targets)
    if len(classes) != scores.shape[1]:
        raise UserError(f'The scores have {scores.shape[1]} columns, but there are {len(classes)} classes.')
    sklearn_metrics = optional.load('sklearn.metrics')
    labels = np.arange(len(classes))
    predicted = scores.argmax(axis=1)
    precision, recall, f1, support = sklearn_metrics.precision_recall_fscore_support(
        targets, predicted, labels=labels, zero_division=0)
    return {
        'examples': len(targets),
        'accuracy': _accuracy(scores, targets),
        'top5': _top5(scores, targets),
        'per_class': [
            {'name': str(name), 'precision': float(p), 'recall': float(r), 'f1': float(f), 'support': int(s)}
            for name, p, r, f, s in zip(classes, precision, recall, f1, support, strict=True)],
        'confusion': sklearn_metrics.confusion_matrix(targets, predicted, labels=labels).tolist(),
    }


def summary(scores: np.ndarray, targets: np.ndarray,
            parts: Mapping[str, Sequence[str | int]]) -> dict[str, float]:
    """The headline figures.

    They are `accuracy`, `top5`, the accuracy on each part of the label, `class_accuracy` (the mean over classes, each
    counting the same), of two classes `auc` (area under the ROC curve: how often a clip of the second class has more of
    it than a clip of the first, equal scores counting half; left out where all clips are of one class) and
    `calibration_error` (how far on average the probability of what is named lies from how often it is right: Guo et al.
    2017, over 15 bins of that probability).

    Args:
      scores: float (N, C), taken as logits by the calibration error.
      targets: int (N,).
      parts: each part's value for every class, such as `{'motion': ['left', 'right']}`
        (see `part_classes`).

    Raises:
      UserError: as `classification`.
    """
    _check(scores, targets)
    return {'accuracy': _accuracy(scores, targets), 'top5': _top5(scores, targets),
            **{name: part_accuracy(scores, targets, values) for name, values in parts.items()},
            'class_accuracy': _class_accuracy(scores, targets), **_auc(scores, targets),
            'calibration_error': _calibration_error(scores, targets)}


def correct(scores: np.ndarray, targets: np.ndarray, parts: Mapping[str, Sequence[str | int]]
            ) -> dict[str, np.ndarray]:
    """Whether each clip is correct: float64 (N,), 0 or 1, of `accuracy`, `top5` and each part; see `summary`."""
    _check(scores, targets)
    predicted = scores.argmax(axis=1)
    whole = {'accuracy': predicted == targets, 'top5': _in_top5(scores, targets)}
    of_parts = {name: np.asarray(values)[predicted] == np.asarray(values)[targets] for name, values in parts.items()}
    return {name: values.astype(np.float64) for name, values in {**whole, **of_parts}.items()}


def calibration(scores: np.ndarray, targets: np.ndarray) -> list[dict[str, Any]]:
    """How often the class that is named is right, by the probability that it is named with: a reliability diagram.

    Args:
      scores: float (N, C), taken as logits.
      targets: int (N,).

    Returns:
      Plain JSON values, one a bin of the probability, from 0 to 1 in equal widths: `clips`, their mean `probability`
      and the share that is `right`, None where there are none.

    Raises:
      UserError: as `classification`.
    """
    _check(scores, targets)
    return [{'clips': int(clips), 'probability': float(sure / clips) if clips else None,
             'right': float(right / clips) if clips else None}
            for clips, sure, right in zip(*_by_probability(scores, targets), strict=True)]


def part_accuracy(scores: np.ndarray, targets: np.ndarray, part_of_class: Sequence[str | int]) -> float:
    """How often the predicted class has the part of the right one (left+rising for left+falling: motion).

    Args:
      scores: float (N, C).
      targets: int (N,).
      part_of_class: the part's value of each of the C classes.

    Raises:
      UserError: as `classification`.
    """
    _check(scores, targets)
    part = np.asarray(part_of_class)
    if part.shape != scores.shape[1:]:
        raise UserError(f'The scores have {scores.shape[1]} columns, but {len(part)} classes have a part.')
    return float((part[scores.argmax(axis=1)] == part[targets]).mean())


def part_classes(target_values: Sequence[str] | np.ndarray, part_values: Sequence[str] | np.ndarray, *,
                 name: str) -> list[str]:
    """The part's value of every class, from the catalog's rows.

    Args:
      target_values: the target column, one class name a row.
      part_values: the part's column, one value a row.
      name: the part's name, for the message.

    Returns:
      One value a class, in the order of the sorted class names.

    Raises:
      UserError: where a class has more than one value of the part.
    """
    found: dict[str, set[str]] = {}
    for target, value in zip(target_values, part_values, strict=True):
        found.setdefault(str(target), set()).add(str(value))
    for target, values in found.items():
        if len(values) > 1:
            raise UserError(f'{name!r} is no part of the label: the class {target!r} has the values '
                            f'{", ".join(map(repr, sorted(values)))} of it; take it out of data.parts.')
    return [found[target].pop() for target in sorted(found)]


def cross_entropy(scores: np.ndarray, targets: np.ndarray) -> float:
    """The mean negative log-likelihood in nats, with the scores taken as logits.

    Args:
      scores: float (N, C).
      targets: int (N,).

    Raises:
      UserError: as `classification`.
    """
    return float(cross_entropies(scores, targets).mean())


def cross_entropies(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The negative log-likelihood of each clip in nats, float64 (N,); see `cross_entropy`."""
    _check(scores, targets)
    shifted = scores.astype(np.float64) - scores.max(axis=1, keepdims=True)
    return np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(targets)), targets]


def binary_cross_entropies(logits: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """The cross-entropy of each logit with its target from 0 to 1 in nats, in their shape."""
    return np.maximum(logits, 0) - logits * targets + np.log1p(np.exp(-np.abs(logits)))


def chance(targets: np.ndarray, parts: Mapping[str, Sequence[str | int]]) -> dict[str, float]:
    """What always naming the most frequent value gets: `accuracy` for the target, and each part's.

    Args:
      targets: int (N,), N >= 1.
      parts: as in `summary`.
    """
    columns = {'accuracy': targets, **{name: np.asarray(values)[targets] for name, values in parts.items()}}
    return {name: float(np.unique(values, return_counts=True)[1].max() / len(values))
            for name, values in columns.items()}


def _accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    return float((scores.argmax(axis=1) == targets).mean())


def _top5(scores: np.ndarray, targets: np.ndarray) -> float:
    return float(_in_top5(scores, targets).mean())


def _in_top5(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    # A stable sort, so that of equal scores the first class wins, as in argmax.
    best = np.argsort(-scores, axis=1, kind='stable')[:, :5]
    return (best == targets[:, None]).any(axis=1)


def _class_accuracy(scores: np.ndarray, targets: np.ndarray) -> float:
    _, places, counts = np.unique(targets, return_inverse=True, return_counts=True)
    return float((np.bincount(places, scores.argmax(axis=1) == targets) / counts).mean())


def _auc(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    positive = targets == 1
    positives, negatives = int(positive.sum()), int((~positive).sum())
    if scores.shape[1] != 2 or not positives or not negatives:
        return {}
    # Mann and Whitney's statistic, from ranks; equal scores share the mean of theirs.
    margin = scores[:, 1].astype(np.float64) - scores[:, 0]
    _, places, counts = np.unique(margin, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    return {'auc': float((ranks[positive].sum() - positives * (positives + 1) / 2) / (positives * negatives))}


def _calibration_error(scores: np.ndarray, targets: np.ndarray) -> float:
    _, sure, right = _by_probability(scores, targets)
    return float(np.abs(right - sure).sum() / len(targets))


def _by_probability(scores: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Clips by the probability of what is named: how many, the sum of those probabilities, how many are right."""
    # The largest probability of a softmax.
    sure = 1 / np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True)).sum(axis=1)
    bins = np.minimum((sure * _BINS).astype(np.int64), _BINS - 1)
    right = scores.argmax(axis=1) == targets
    return (np.bincount(bins, minlength=_BINS), np.bincount(bins, sure, minlength=_BINS),
            np.bincount(bins, right, minlength=_BINS))


def regression(said: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """How well numbers are told.

    Args:
      said: float64 (N,).
      targets: float64 (N,).

    Returns:
      `mae`, mean absolute error, `mse`, mean squared error, `r2`, the share of the variance that is explained
      (`1 - mse / variance`), and `pearson`, the correlation; the latter two are 0 where they are not defined, for
      numbers that are all the same, and all are 0 of no clips.
    """
    if not len(targets):
        return dict.fromkeys(('mae', 'mse', 'r2', 'pearson'), 0.0)
    error = said - targets
    varies, follows = targets.std() > 0, said.std() > 0
    return {'mae': float(np.abs(error).mean()), 'mse': float((error ** 2).mean()),
            'r2': float(1 - (error ** 2).mean() / targets.var()) if varies else 0.0,
            'pearson': float(np.corrcoef(said, targets)[0, 1]) if varies and follows else 0.0}


def check_finite(scores: np.ndarray) -> None:
    """Raises a UserError where scores (N, ...) are NaN or infinite."""
    broken = np.flatnonzero(~np.isfinite(scores).reshape(len(scores), -1).all(axis=1))
    if len(broken):
        raise UserError(f'The scores of {len(broken)} of {len(scores)} clips are NaN or infinite: the model '
                        f'has diverged; evaluate an earlier checkpoint, or train with a lower learning rate.')


def _check(scores: np.ndarray, targets: np.ndarray) -> None:
    if scores.ndim != 2 or targets.shape != scores.shape[:1]:
        raise UserError(f'Scores must be (N, C) and targets (N,), not {scores.shape} and {targets.shape}.')
    if not len(targets):
        raise UserError('There are no clips to measure: the split is empty.')
    check_finite(scores)
    if targets.min() < 0 or targets.max() >= scores.shape[1]:
        raise UserError(f'Targets must lie in 0..{scores.shape[1] - 1}, but they reach from {targets.min()} '
                        f'to {targets.max()}: were store and checkpoint made with the same classes?')
