"""What a network that makes pictures is compared with: filters over 3 x 3 x 3 neighbouring values."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np

_SIZE = 27
_STEPS = (-1, 0, 1)


def rounded(x: jax.Array) -> jax.Array:
    """Fractions of 255 as uint8."""
    return jnp.clip(jnp.round(255 * x), 0, 255).astype(jnp.uint8)


def neighbourhood(x: jax.Array, valid: jax.Array) -> jax.Array:
    """The values around each value: float (B, T, H, W, C) -> (B, T, H, W, C, 27).

    Past an edge stands what is at the edge, behind the last valid frame that frame.

    Args:
      x: pictures.
      valid: bool (B, T), the first frames of a clip.
    """
    last = jnp.maximum(valid.sum(1), 1) - 1
    times = [jnp.clip(jnp.arange(x.shape[1]) + step, 0, last[:, None]) for step in _STEPS]
    frames = [jnp.take_along_axis(x, each[:, :, None, None, None], 1) for each in times]
    padded = [jnp.pad(each, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)), mode='edge') for each in frames]
    height, width = x.shape[2:4]
    return jnp.stack([frame[:, :, 1 + row:1 + row + height, 1 + column:1 + column + width]
                      for frame, row, column in itertools.product(padded, _STEPS, _STEPS)], -1)


def filter_moments(around: jax.Array, truth: jax.Array, counted: jax.Array) -> jax.Array:
    """What the error of any linear filter of neighbourhoods with an offset follows from.

    Args:
      around: see `neighbourhood`.
      truth: float (B, T, H, W, C).
      counted: bool (B, T).

    Returns:
      float32 (B, 29, 29): the second moments of the 27 values, 1, and the truth, each the mean over a frame, summed
      over the frames that count; that of 1 is their number.
    """
    joined = jnp.concatenate([around, jnp.ones_like(truth)[..., None], truth[..., None]], -1)
    joined = joined.reshape(*joined.shape[:2], -1, _SIZE + 2)
    moments = jnp.einsum('btni,btnj,bt->bij', joined, joined, counted.astype(joined.dtype),
                         precision=jax.lax.Precision.HIGHEST)
    return moments / joined.shape[2]


def filter_errors(moments: np.ndarray) -> np.ndarray:
    """The mean squared error of each clip by the one filter that is best for all of them together.

    Args:
      moments: float64 (N, 29, 29), of `filter_moments`.

    Returns:
      float64 (N,), NaN where no frame counts.
    """
    total = moments.sum(0)
    weights, *_ = np.linalg.lstsq(total[:-1, :-1], total[:-1, -1], rcond=None)
    residual = np.append(-weights, 1)
    error, count = np.einsum('i,nij,j->n', residual, moments, residual), moments[:, -2, -2]
    return np.where(count > 0, np.maximum(error, 0) / np.maximum(count, 1), np.nan)
