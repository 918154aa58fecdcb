"""What a target can be told from without the model: the controls that a score on a store stands beside.

A control is a simple classifier on a part of a clip that should not tell the target: metadata, the presence of tracks,
one frame, the loudness of the sound. What it tells is there; what it does not tell may still be there for a better
reader. `audit_features` takes these parts from a store, `relations` looks at the other columns of the catalog, and
`near_duplicates` at clips that stand on both sides of a split.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from vmmjax import optional
from vmmjax.errors import UserError
from vmmjax.evaluation import intervals
from vmmjax.evaluation.probe import turns

_TREES = 300
_PERMUTATIONS = 2000
_FEW_VALUES = 40  # A column of more distinct values is no category.
_LARGEST = 3  # Columns of a combination.
NEAR = 8
"""Bits of 64 in which perceptual hashes of near-duplicates differ at most."""
_BLOCK = 1024  # Hashes that are compared with all others at a time.


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


class Relation(NamedTuple):
    """How a column of the catalog goes with the target.

    Attributes:
      column: its name.
      bits: mutual information with the target, as it is counted.
      of: entropy of the target, bits.
      by_chance: mean of the mutual information with the column permuted: what few clips alone give.
      p: share of the permutations that have as much.
    """

    column: str
    bits: float
    of: float
    by_chance: float
    p: float


class Combination(NamedTuple):
    """How often the values of several columns, the target among them, occur together.

    Attributes:
      columns: their names.
      distinct: combinations that occur.
      by_chance: mean number that would, were the columns independent.
      possible: number of all.
      most: clips of the most frequent one.
      p: two-sided, of the permutation test of `distinct`.
    """

    columns: tuple[str, ...]
    distinct: int
    by_chance: float
    possible: int
    most: int
    p: float


class Pair(NamedTuple):
    """Two clips of different parts that look alike.

    Attributes:
      first: row of the catalog.
      second: likewise.
      bits: of 64, in which the most similar of their frames differ.
    """

    first: int
    second: int
    bits: int


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
    drawn = np.array([logs[every, permuted(rng, truth, part, units)].mean() for _ in range(_PERMUTATIONS)])
    away = np.abs(drawn - drawn.mean())
    return float((1 + (away >= abs(logs[every, truth].mean() - drawn.mean()) - 1e-12).sum()) / (1 + _PERMUTATIONS))


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


def categories(labels: Mapping[str, np.ndarray], target: str) -> dict[str, np.ndarray]:
    """The columns that are categories: neither the target, nor of the protocol, with 2 to 40 distinct values.

    Args:
      labels: text (N,) of every catalog column of labels.
      target: name of the one that is to be told.
    """
    return {name: values for name, values in labels.items()
            if name not in (target, 'split', 'fold', 'group') and 2 <= len(np.unique(values)) <= _FEW_VALUES}


def relations(columns: Mapping[str, np.ndarray], target: np.ndarray) -> list[Relation]:
    """The mutual information of each column with the target, most first.

    Args:
      columns: text (N,) each, see `categories`.
      target: text (N,), empty where it is not known.
    """
    information = optional.load('sklearn.metrics').mutual_info_score
    rng, known = np.random.default_rng(0), target != ''
    truth = target[known]
    found = []
    for name, values in columns.items():
        bits = information(truth, values[known]) / np.log(2)
        drawn = np.array([information(truth, rng.permutation(values[known])) for _ in range(_PERMUTATIONS)]) / np.log(2)
        found.append(Relation(name, float(bits), float(information(truth, truth) / np.log(2)), float(drawn.mean()),
                              float((1 + (drawn >= bits - 1e-12).sum()) / (1 + len(drawn)))))
    return sorted(found, key=lambda relation: relation.by_chance - relation.bits)


def combinations(columns: Mapping[str, np.ndarray], name: str, target: np.ndarray) -> list[Combination]:
    """Whether values of two or three columns, the target among them, occur together as often as if independent.

    Fewer combinations than by chance: one column tells of another. More: what has occurred does not occur again, as in
    a balanced design, so that a model can exclude what it was trained on.

    Args:
      columns: text (N,) each, see `categories`.
      name: of the target.
      target: text (N,), empty where it is not known.

    Returns:
      Those whose p-value is at most .05 after Holm's correction, the surest first.
    """
    rng, known = np.random.default_rng(0), target != ''
    coded = {name: np.unique(target[known], return_inverse=True)[1]}
    coded |= {column: np.unique(values[known], return_inverse=True)[1] for column, values in columns.items()}
    found = []
    for size in range(2, _LARGEST + 1):
        for others in itertools.combinations(columns, size - 1):
            codes = [coded[each] for each in (name, *others)]
            counts = _counts(codes)
            drawn = np.array([len(_counts([rng.permutation(code) for code in codes])) for _ in range(_PERMUTATIONS)])
            away = np.abs(drawn - drawn.mean())
            p = float((1 + (away >= abs(len(counts) - drawn.mean()) - 1e-12).sum()) / (1 + len(drawn)))
            found.append(Combination((name, *others), len(counts), float(drawn.mean()),
                                     int(np.prod([code.max() + 1 for code in codes])), int(counts.max()), p))
    found.sort(key=lambda each: (each.p, -abs(each.distinct - each.by_chance)))
    sure = list(itertools.takewhile(lambda item: item[1].p <= 0.05 / (len(found) - item[0]), enumerate(found)))
    return [each for _, each in sure]


def _counts(codes: Sequence[np.ndarray]) -> np.ndarray:
    """Clips of each combination that occurs."""
    joined = np.ravel_multi_index(codes, [code.max() + 1 for code in codes])
    return np.unique(joined, return_counts=True)[1]


def near_duplicates(hashes: np.ndarray, rows: np.ndarray, part: np.ndarray) -> list[Pair]:
    """Pairs of clips of different parts with frames that look alike, the most similar first.

    Args:
      hashes: uint64 (F,), perceptual hashes of frames.
      rows: int (F,), the catalog row of each, ascending.
      part: text (N,), the split or fold of each row.
    """
    pairs: dict[tuple[int, int], int] = {}
    for first in range(0, len(hashes), _BLOCK):
        block = slice(first, first + _BLOCK)
        bits = np.bitwise_count(hashes[block, None] ^ hashes[None, first:])
        for one, other in zip(*np.nonzero(bits <= NEAR), strict=True):
            a, b = int(rows[first + one]), int(rows[first + other])
            if a < b and part[a] != part[b]:
                pairs[a, b] = min(pairs.get((a, b), 65), int(bits[one, other]))
    return sorted((Pair(a, b, bits) for (a, b), bits in pairs.items()), key=lambda pair: (pair.bits, pair))


def shared(values: np.ndarray, part: np.ndarray) -> list[str]:
    """The values, such as paths or groups, that clips of different parts have; without the empty one.

    Args:
      values: text (N,).
      part: text (N,), the split or fold of each row.
    """
    seen: dict[str, set[str]] = {}
    for value, where in zip(values.tolist(), part.tolist(), strict=True):
        seen.setdefault(value, set()).add(where)
    return sorted(value for value, places in seen.items() if value and len(places) > 1)


def priors(target: np.ndarray, part: np.ndarray) -> dict[str, dict[str, int]]:
    """Clips of each value of the target in each part: part -> value -> number.

    Args:
      target: text (N,), empty where it is not known.
      part: text (N,), the split or fold of each row.
    """
    names = np.unique(target[target != '']).tolist()
    return {where: {name: int(((part == where) & (target == name)).sum()) for name in names}
            for where in sorted({*part.tolist()} - {''}, key=lambda name: (len(name), name))}


def as_json(found: Sequence[Any]) -> list[Any]:
    """Plain JSON values of named tuples."""
    return [{name: value._asdict() if isinstance(value, intervals.Interval) else value
             for name, value in each._asdict().items()} for each in found]
