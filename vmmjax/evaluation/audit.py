"""What a target can be told from without the model: the controls that a score on a store stands beside.

A control is a simple classifier on a part of a clip that should not tell the target: metadata, the presence of tracks,
one frame, the loudness of the sound. What it tells is there; what it does not tell may still be there for a better
reader. `audit_features` takes these parts from a store, `audit_columns` looks at the other columns of the catalog, and
`audit_splits` at clips that stand on both sides of a split.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from vmmjax import optional
from vmmjax.errors import UserError
from vmmjax.evaluation import intervals
from vmmjax.evaluation.probe import turns

_TREES = 300
PERMUTATIONS = 2000


class Told(NamedTuple):
    """What a classifier tells of a target, on clips that it was not trained on.

    Attributes:
      clips: that were tested.
      accuracy: with its confidence interval.
      majority: accuracy of always naming the value that is most frequent among the training clips of each fold.
      balanced: balanced accuracy: the mean recall of the values.
      auc: area under the ROC curve, one value against the rest, averaged over values and over folds; None where no
        fold has two values. Scores of different folds are not pooled (Forman and Scholz 2010).
      bits: how much less than by the priors of the training clips the target surprises, mean bits a clip; below 0
        where the classifier is worse than these priors.
      p: of a two-sided permutation test of the log-probability of the true value, see `told`.
    """

    clips: int
    accuracy: intervals.Interval
    majority: float
    balanced: float
    auc: float | None
    bits: float
    p: float


def told(x: np.ndarray, target: np.ndarray, labels: Mapping[str, np.ndarray], *, folds: bool) -> Told:
    """Trains a random forest on features and tests it by the protocol of the store.

    The test of dependence permutes the true values among the tested clips of a fold, the predictions held: whole groups
    where all clips of a group have one value (a group then takes the value of another), else the clips within each
    group. It is two-sided, since a classifier that is right less often than by chance has found a dependence, too.

    Args:
      x: float (N, D); NaN where a clip lacks the value.
      target: text (N,), empty where it is not known.
      labels: catalog columns, (N,) each: `split` or `fold`, see `probe.turns`; `group` of clips that depend on each
        other.
      folds: whether cross-validation over the folds takes the place of the splits.

    Raises:
      UserError: where a split or the folds are missing, or there is but one value to learn.
    """
    ensemble = optional.load('sklearn.ensemble')
    metrics = optional.load('sklearn.metrics')
    names = np.unique(target[target != ''])
    if len(names) < 2:
        raise UserError('The audit needs at least two values of the target.')
    rows, parts, shares, priors, areas = [], [], [], [], []
    for number, turn in enumerate(turns(labels, folds)):
        train, test = (part[target[part] != ''] for part in (np.concatenate([turn.train, turn.validation]), turn.test))
        if not len(test):
            continue
        known, counts = np.unique(target[train], return_counts=True)
        if len(known) < 2:
            raise UserError('The audit needs at least two values of the target among the training clips.')
        places = np.searchsorted(names, known)
        forest = ensemble.RandomForestClassifier(_TREES, min_samples_leaf=2, random_state=0)
        forest.fit(x[train], target[train])
        # A clip counts for each value, so that nothing has the probability 0.
        share, prior = (np.full((len(test), len(names)), 1 / (len(train) + len(names))) for _ in range(2))
        share[:, places] += forest.predict_proba(x[test]) * len(train) / (len(train) + len(names))
        prior[:, places] += counts / (len(train) + len(names))
        truth = np.searchsorted(names, target[test])
        for value in np.unique(truth):
            if 0 < (truth == value).sum() < len(truth):
                areas.append(metrics.roc_auc_score(truth == value, share[:, value]))
        rows.append(test)
        parts.append(np.full(len(test), number))
        shares.append(share)
        priors.append(prior)
    if not rows:
        raise UserError('No clip that is tested has a value of the target.')
    row, part, probability, prior = map(np.concatenate, (rows, parts, shares, priors))
    truth, every = np.searchsorted(names, target[row]), np.arange(len(row))
    groups = labels['group'][row] if 'group' in labels else None
    right = probability.argmax(1) == truth
    logs = np.log2(probability)
    return Told(len(row), intervals.proportion(right.astype(np.float64), groups),
                float((prior.argmax(1) == truth).mean()),
                float(np.mean([right[truth == value].mean() for value in np.unique(truth)])),
                float(np.mean(areas)) if areas else None,
                float((logs[every, truth] - np.log2(prior[every, truth])).mean()),
                _two_sided(logs, truth, part, groups))


def _two_sided(logs: np.ndarray, truth: np.ndarray, part: np.ndarray, groups: np.ndarray | None) -> float:
    """The p-value of the mean log-probability of the true values, permuted within parts."""
    rng, every = np.random.default_rng(0), np.arange(len(truth))
    units = every if groups is None else _units(groups)
    drawn = np.array([logs[every, permuted(rng, truth, part, units)].mean() for _ in range(PERMUTATIONS)])
    away = np.abs(drawn - drawn.mean())
    return float((1 + (away >= abs(logs[every, truth].mean() - drawn.mean()) - 1e-12).sum()) / (1 + PERMUTATIONS))


def _units(groups: np.ndarray) -> np.ndarray:
    """The number of each clip's group; a clip without one is its own."""
    names = [group or f'\0{place}' for place, group in enumerate(groups.tolist())]
    return np.unique(names, return_inverse=True)[1]


def permuted(rng: np.random.Generator, values: np.ndarray, part: np.ndarray, units: np.ndarray) -> np.ndarray:
    """Values that go with nothing but their part: those of whole units, or of clips within a unit.

    Args:
      rng: of the permutation.
      values: (N,).
      part: int (N,): values stay in theirs, such as a fold.
      units: int (N,), equal for the clips of a group.

    Returns:
      (N,). Where all clips of every unit of a part have one value, units take each other's value; else clips take
      values of their own unit.
    """
    out = values.copy()
    for number in np.unique(part):
        here = np.flatnonzero(part == number)
        first, inverse = np.unique(units[here], return_index=True, return_inverse=True)[1:]
        of_units = values[here][first]
        if (of_units[inverse] == values[here]).all():
            out[here] = rng.permutation(of_units)[inverse]
        else:
            for unit in range(len(first)):
                mine = here[inverse == unit]
                out[mine] = rng.permutation(values[mine])
    return out
