"""The Fréchet distance between two sets of features (Heusel et al. 2017; of videos, Unterthiner et al. 2018)."""

import dataclasses

import numpy as np
from numpy.typing import ArrayLike

from vmmjax.errors import UserError

# Singular values below it count as they are, not as their roots, as in TF-GAN, which the published numbers are from.
_EPSILON = 1e-10


@dataclasses.dataclass(frozen=True)
class Moments:
    """The first two moments of features, which are all that the distance depends on: features may come in parts.

    Attributes:
      count: of rows.
      mean: float64 (D,).
      scatter: float64 (D, D), the sum over rows of the outer product of what differs from the mean.
    """

    count: int
    mean: np.ndarray
    scatter: np.ndarray

    @classmethod
    def of(cls, features: ArrayLike) -> 'Moments':
        """Those of features (N, D), N at least 1.

        Raises:
          UserError: for another shape, or numbers that are not finite.
        """
        x = np.asarray(features, np.float64)
        if x.ndim != 2 or not x.size:
            raise UserError(f'Features have a shape (N, D), a row a video, not {x.shape}.')
        if not np.isfinite(x).all():
            raise UserError('The features hold NaN or infinity, so they have no Fréchet distance.')
        mean = x.mean(0)
        return cls(len(x), mean, (x - mean).T @ (x - mean))

    def __add__(self, other: 'Moments') -> 'Moments':
        """Those of both sets together (Chan, Golub and LeVeque 1983): nothing cancels, however many rows there are."""
        if self.mean.shape != other.mean.shape:
            raise UserError(f'Features of {len(self.mean)} and of {len(other.mean)} numbers have no Fréchet distance; '
                            f'make all of them with one network.')
        count, apart = self.count + other.count, other.mean - self.mean
        return Moments(count, self.mean + apart * (other.count / count),
                       self.scatter + other.scatter + np.outer(apart, apart) * (self.count * other.count / count))


def frechet_distance(a: ArrayLike, b: ArrayLike, *, ddof: int = 1) -> float:
    """Distance between the normal distributions fitted to two sets of features; see `distance`.

    Args:
      a: (N, D), N at least 2.
      b: (M, D), M at least 2.
      ddof: see `distance`.

    Raises:
      UserError: for fewer than two rows, rows of different lengths, or numbers that are not finite.
    """
    return distance(Moments.of(a), Moments.of(b), ddof=ddof)


def distance(a: Moments, b: Moments, *, ddof: int = 1) -> float:
    """|mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)), in float64.

    Args:
      a: of at least two rows.
      b: likewise.
      ddof: covariances are sums over N - ddof: 1 for the unbiased ones.

    Raises:
      UserError: for fewer than two rows, or rows of different lengths.
    """
    if a.mean.shape != b.mean.shape or min(a.count, b.count) < 2:
        raise UserError(f'{a.count} rows of {len(a.mean)} features and {b.count} rows of {len(b.mean)} have no Fréchet '
                        f'distance; give at least two rows each, all of one length.')
    cov_a, cov_b = (x.scatter / (x.count - ddof) for x in (a, b))
    # The trace of (cov_a cov_b)^(1/2) is that of a symmetric matrix with the same eigenvalues.
    left, values, right = np.linalg.svd(cov_a)
    root = (left * _roots(values)) @ right
    overlap = _roots(np.linalg.svd(root @ cov_b @ root, compute_uv=False)).sum()
    return float(((a.mean - b.mean) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap)


def interval(a: np.ndarray, b: np.ndarray, *, ddof: int = 1, resamples: int = 100, level: float = 0.95,
             seed: int = 0) -> tuple[float, float]:
    """Where the distance may lie that other videos, as many and of the same kind, would have given.

    By bootstrap (Efron 1979): percentiles of the distances between resamples. These lie higher than the distance
    itself, since a resample holds some rows twice and so knows less of the covariance; their mean is put back onto it.
    What the distance owes to the number of videos, and would lose with more of them, is not in the interval.

    Args:
      a: features (N, D).
      b: features (M, D).
      ddof: see `distance`.
      resamples: how many.
      level: of the interval.
      seed: of the resamples.

    Returns:
      The ends.
    """
    rng = np.random.default_rng(seed)
    drawn = [frechet_distance(*(x[rng.integers(len(x), size=len(x))] for x in (a, b)), ddof=ddof)
             for _ in range(resamples)]
    tail = (1 - level) / 2
    low, high = np.quantile(drawn, [tail, 1 - tail]) - np.mean(drawn) + frechet_distance(a, b, ddof=ddof)
    return float(low), float(high)


def _roots(values: np.ndarray) -> np.ndarray:
    return np.where(values < _EPSILON, values, np.sqrt(values))
