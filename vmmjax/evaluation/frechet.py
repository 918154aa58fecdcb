"""The Fréchet distance between two sets of features (Heusel et al. 2017; of videos, Unterthiner et al. 2018)."""

import numpy as np

from vmmjax.errors import UserError

# Singular values below it count as they are, not as their roots, as in TF-GAN, which the published numbers are from.
_EPSILON = 1e-10


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Distance between the normal distributions fitted to two sets of features.

    |mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)), in float64, with unbiased covariances.

    Args:
      a: (N, D), N at least 2.
      b: (M, D), M at least 2.

    Raises:
      UserError: for fewer than two rows, rows of different lengths, or numbers that are not finite.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or min(len(a), len(b)) < 2:
        raise UserError(f'Features of shapes {a.shape} and {b.shape} have no Fréchet distance; give at least two rows '
                        f'each, all of one length.')
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise UserError('The features hold NaN or infinity, so they have no Fréchet distance.')
    cov_a, cov_b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (a, b))
    # The trace of (cov_a cov_b)^(1/2) is that of a symmetric matrix with the same eigenvalues.
    root = _root(cov_a)
    overlap = np.trace(_root(root @ cov_b @ root))
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap)


def _root(matrix: np.ndarray) -> np.ndarray:
    """The root of a symmetric matrix without negative eigenvalues."""
    left, values, right = np.linalg.svd(matrix)
    return (left * np.where(values < _EPSILON, values, np.sqrt(values))) @ right
