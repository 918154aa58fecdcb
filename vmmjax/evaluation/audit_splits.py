"""Clips that stand on both sides of a split, and how a target is spread over splits or folds."""

from typing import NamedTuple

import numpy as np

NEAR = 8
"""Bits of 64 in which perceptual hashes of near-duplicates differ at most."""
_BLOCK = 1024  # Hashes that are compared with all others at a time.


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
