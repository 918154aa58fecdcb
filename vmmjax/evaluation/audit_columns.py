"""How the other columns of a catalog go with a target: mutual information, and values that never occur together."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from vmmjax import optional
from vmmjax.evaluation.audit import PERMUTATIONS

_FEW_VALUES = 40  # A column of more distinct values is no category.
_LARGEST = 3  # Columns of a combination.


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
        drawn = np.array([information(truth, rng.permutation(values[known])) for _ in range(PERMUTATIONS)]) / np.log(2)
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
            drawn = np.array([len(_counts([rng.permutation(code) for code in codes])) for _ in range(PERMUTATIONS)])
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
