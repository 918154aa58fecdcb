"""Resizing, sampling and filtering of single planes, with OpenCV's conventions."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

_CUBIC = -0.75  # The slope of OpenCV's cubic kernel at 1.


def bordered(x: jax.Array) -> jax.Array:
    """(H, W) -> (H + 7, W + 7), with the zeros that a cubic sees when it is 2 pixels outside."""
    return jnp.pad(x, (3, 4))


def sample(planes: Sequence[jax.Array], flow: tuple[jax.Array, jax.Array]) -> list[jax.Array]:
    """Planes where the flow points to, cubic, 0 outside.

    Args:
      planes: each (H + 7, W + 7), `bordered`.
      flow: (H, W) each.

    Returns:
      Each (H, W).
    """
    height, width = flow[0].shape
    stride = width + 7
    x = jnp.clip(jnp.arange(width) + flow[0], -2, width + 1)
    y = jnp.clip(jnp.arange(height)[:, None] + flow[1], -2, height + 1)
    left, top = jnp.floor(x), jnp.floor(y)
    across, along = _cubic(x - left), _cubic(y - top)
    corner = (top.astype(jnp.int32) + 2) * stride + left.astype(jnp.int32) + 2
    sampled = []
    for plane in planes:
        # One number at a time: XLA makes a loop of it that is four times as fast as one of vectors or windows.
        total = jnp.zeros_like(x)
        for row in range(4):
            line = jnp.zeros_like(x)
            for column in range(4):
                line += across[column] * plane.ravel().at[corner + (row * stride + column)].get(mode='clip')
            total += along[row] * line
        sampled.append(total)
    return sampled


def _cubic(t: jax.Array) -> tuple[jax.Array, ...]:
    """Weights of the four pixels around a place that is t (0 to 1) past the second of them."""
    s = 1 - t
    return (_CUBIC * t * s * s, ((_CUBIC + 2) * t - (_CUBIC + 3)) * t * t + 1,
            ((_CUBIC + 2) * s - (_CUBIC + 3)) * s * s + 1, _CUBIC * s * t * t)


def median(x: jax.Array, side: int) -> jax.Array:
    """Median of the square around each pixel; the outermost pixels go on beyond the edge.

    Of half the values and two more neither the smallest nor the largest can be the median: they are dropped, one
    more value is taken, and so on. It is all minima and maxima of whole planes, which become one fast loop.

    Args:
      x: (H, W).
      side: of the square in pixels, odd; 1 changes nothing.

    Returns:
      (H, W).
    """
    around = jnp.pad(x, side // 2, mode='edge')
    values = [around[row:row + x.shape[0], column:column + x.shape[1]] for row in range(side) for column in range(side)]
    kept, coming = values[:len(values) // 2 + 2], values[len(values) // 2 + 2:]
    while len(kept) > 1:
        kept = _without_extremes(kept) + coming[:1]
        coming = coming[1:]
    return kept[0]


def _without_extremes(values: list[jax.Array]) -> list[jax.Array]:
    """All but the smallest and the largest, pixel by pixel, in any order."""
    half = len(values) // 2
    pairs = list(zip(values[:half], values[half:], strict=False))
    low, high = [jnp.minimum(*pair) for pair in pairs], [jnp.maximum(*pair) for pair in pairs]
    single = values[2 * half:]
    low = _without_first(low + single, jnp.minimum, jnp.maximum)
    if single:  # It comes last, so that the largest can still be the last of these.
        high.append(low.pop())
    return low + _without_first(high, jnp.maximum, jnp.minimum)


def _without_first(values: list[jax.Array], first: Callable[..., jax.Array],
                   other: Callable[..., jax.Array]) -> list[jax.Array]:
    """All but the one that `first` of all gives."""
    kept, found = [], values[0]
    for value in values[1:]:
        kept.append(other(found, value))
        found = first(found, value)
    return kept


def resize(x: jax.Array, size: tuple[int, int], factors: tuple[float, float]) -> jax.Array:
    """Linear, without smoothing, pixel centres on pixel centres.

    Args:
      x: (H, W).
      size: height and width that come out.
      factors: pixels of x from one pixel that comes out to the next, down and to the right.

    Returns:
      Of that size.
    """
    for axis in (1, 0):
        place = (np.arange(size[axis]) + 0.5) * factors[axis] - 0.5
        place = np.clip(place, 0, x.shape[axis] - 1)
        before = np.floor(place).astype(np.int32)
        after = np.minimum(before + 1, x.shape[axis] - 1)
        part = (place - before).astype(np.float32)
        part = part if axis else part[:, None]
        x = jnp.take(x, before, axis) * (1 - part) + jnp.take(x, after, axis) * part
    return x
