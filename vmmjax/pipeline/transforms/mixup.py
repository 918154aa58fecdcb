"""Mixup and CutMix of neighbours in a batch: positions are shuffled, so neighbours are random pairs."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from scipy.special import betaincinv

DRAWS = 4
"""Random numbers a position that `shares` and `mix` take; those of a pair are its first row's."""


def shares(draws: np.ndarray, mixup: float, cutmix: float) -> tuple[np.ndarray, np.ndarray]:
    """How much of the other clip each pair takes.

    Args:
      draws: float64 (P, DRAWS) in [0, 1), of the pairs.
      mixup: alpha of Beta(alpha, alpha), 0 for none.
      cutmix: likewise.

    Returns:
      float64 (P,) in [0, 1], and bool (P,), which pairs are cut and not blended.
    """
    cuts = draws[:, 1] < 0.5 if mixup and cutmix else np.full(len(draws), bool(cutmix))
    alpha = np.where(cuts, cutmix, mixup)
    return betaincinv(alpha, alpha, draws[:, 0]), cuts


def mix(first: np.ndarray, second: np.ndarray, both: np.ndarray, share: float, cut: np.ndarray | None) -> None:
    """Mixes the same stream of two clips, in their place.

    Args:
      first: uint8 (T, S, S, C) or float32 (T, ...); it takes `share` of `second`, which takes as much of it.
      second: likewise.
      both: bool (T,), frames that both have; the others stay.
      share: of the other clip, 0 to 1.
      cut: None to blend; else where the other clip is put in, float64 (2,) in [0, 1): down and across in pictures,
        in arrays the first for the stretch of time.
    """
    if cut is None:
        for frame in np.flatnonzero(both) if first.dtype == np.uint8 else [slice(None)]:
            one, other = first[frame].copy(), second[frame].copy()
            if first.dtype == np.uint8:
                cv2.addWeighted(one, 1 - share, other, share, 0, dst=first[frame])
                cv2.addWeighted(other, 1 - share, one, share, 0, dst=second[frame])
            else:
                weight = np.where(both, np.float32(share), np.float32(0)).reshape(-1, *[1] * (first.ndim - 1))
                first[:] = one + weight * (other - one)
                second[:] = other + weight * (one - other)
        return
    if first.dtype == np.uint8:
        side = round(np.sqrt(share) * first.shape[1])
        top, left = np.floor(cut * (first.shape[1] - side + 1)).astype(np.int64)
        here: tuple[Any, ...] = (both, slice(top, top + side), slice(left, left + side))
    else:
        length = round(share * len(first))
        start = int(cut[0] * (len(first) - length + 1))
        inside = np.zeros(len(first), bool)
        inside[start:start + length] = True
        here = (both & inside,)
    kept = first[here]  # A copy: it is indexed by a mask.
    first[here] = second[here]
    second[here] = kept


def partners(batch: Mapping[str, np.ndarray], target: str, streams: list[str]) -> np.ndarray:
    """The pairs (2i, 2i + 1) of a batch that can be mixed: both have a target and the same streams; bool (B / 2,)."""
    # NaN, of a clip without names, is not.
    known = (batch[target] >= 0).reshape(len(batch['mask']), -1).all(axis=1)
    good = ((batch['mask'] > 0) & known).reshape(-1, 2).all(axis=1)
    for stream in streams:
        there = batch[f'present/{stream}'].reshape(-1, 2)
        good &= there[:, 0] == there[:, 1]
    return np.asarray(good)
