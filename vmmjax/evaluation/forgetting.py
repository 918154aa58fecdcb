"""What a sequence of trainings knows and has forgotten, from its accuracies by step and data set."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class Kept(NamedTuple):
    """Figures of R[i, j], the accuracy on data set j after step i of T.

    Attributes:
      average: mean over j of R[T, j] (Lopez-Paz and Ranzato 2017, equation 2).
      forgetting: mean over j < T of max over i < T of R[i, j], less R[T, j] (Chaudhry et al. 2018, equation 3). It is
        the best accuracy before the last step that counts, not the first as in other libraries.
      backward: backward transfer, mean over j < T of R[T, j] - R[j, j] (Lopez-Paz and Ranzato 2017, equation 3).
    """

    average: float
    forgetting: float
    backward: float


def kept(accuracies: np.ndarray) -> Kept:
    """The figures of a matrix of accuracies, float (T, T); T is at least 2."""
    last = accuracies[-1]
    return Kept(float(last.mean()), float((accuracies[:-1, :-1].max(0) - last[:-1]).mean()),
                float((last[:-1] - np.diagonal(accuracies)[:-1]).mean()))


def resampled(right: Sequence[np.ndarray], draws: int = 2000, seed: int = 0) -> np.ndarray:
    """The figures of several methods, by a bootstrap over the trainings and the clips of each data set.

    A draw takes seeds and clips with replacement, the same for all methods and steps, so that methods are paired.

    Args:
      right: of each data set bool (methods, seeds, T, N_j), which clips are told rightly after each step.
      draws: of the bootstrap.
      seed: of the draws.

    Returns:
      float64 (draws, methods, 3), see `Kept`.
    """
    methods, seeds = right[0].shape[:2]
    generator, out = np.random.default_rng(seed), np.empty((draws, methods, len(Kept._fields)))
    for draw in range(draws):
        taken = generator.integers(seeds, size=seeds)
        found = [each[:, taken][..., generator.integers(each.shape[-1], size=each.shape[-1])].mean((1, 3))
                 for each in right]
        out[draw] = [kept(matrix) for matrix in np.stack(found, -1)]
    return out
