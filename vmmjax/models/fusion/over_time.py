"""Streams of different rates brought to the same moments, and fused at each of them."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError
from vmmjax.models.fusion.base import Fusion
from vmmjax.models.tokens import Fused, Tokens, masked_mean


def overlaps(to: int, of: int) -> np.ndarray:
    """Shares of `of` equal parts of a length in each of `to` equal parts of it, float32 (to, of); rows sum to 1."""
    # In whole numbers of 1 / (to * of), so that what does not overlap is exactly zero.
    mine, theirs = np.arange(to + 1)[:, None] * of, np.arange(of + 1) * to
    shared = np.minimum(mine[1:], theirs[1:]) - np.maximum(mine[:-1], theirs[:-1])
    return (np.maximum(shared, 0) / of).astype(np.float32)


def resample(x: jax.Array, axis: int, size: int) -> jax.Array:
    """Means of x over `size` equal parts of an axis; where there are fewer numbers than parts, they are repeated."""
    if x.shape[axis] == size:
        return x
    weights = jnp.asarray(overlaps(size, x.shape[axis]), x.dtype)
    return jnp.moveaxis(jnp.tensordot(weights, x, (1, axis)), 0, axis)


def resample_valid(x: jax.Array, mask: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Means of the valid part of x over `size` equal parts of time.

    Args:
      x: (B, N, ...).
      mask: bool (B, N); what is invalid has no influence and no gradient, be it NaN.
      size: how many parts.

    Returns:
      (B, size, ...), zero in parts without anything valid, and bool (B, size), which have something.
    """
    shape = mask.shape + (1,) * (x.ndim - 2)
    total = resample(jnp.where(mask.reshape(shape), x, 0), 1, size)
    share = resample(mask.astype(x.dtype), 1, size)
    there = share > 0
    return total / jnp.where(there, share, 1).reshape(there.shape + shape[2:]), there


class OverTime(Fusion):
    """Fusion moment by moment, for what begins and ends within a clip: tokens are the moments of the clip's window.

    Every stream is brought to `steps` equal parts of the window: the mean of its tokens, N equal parts of the same
    window, over what each part has of them. `join` fuses each part as if it were a clip: a stream is absent where it
    has no valid token in that part. Features are the mean over the parts that have something; so are the logits of a
    fusion of scores.

    Attributes:
      join: the fusion of every moment.
      steps: how many moments the window has.
    """

    join: Any = None
    steps: int = 8

    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """Fuses tokens (B, N, D_m) of each stream; `present` (B,) bool says in which rows a stream is there.

        Raises:
          UserError: for less than one step.
        """
        if self.steps < 1:
            raise UserError(f'The fusion over_time has steps={self.steps}; give a whole number of at least 1.')
        parts, there = {}, {}
        for name in self.streams:
            x, mask = resample_valid(tokens[name].x, tokens[name].mask, self.steps)
            parts[name] = Tokens(x.reshape(-1, 1, x.shape[-1]), mask.reshape(-1, 1))
            there[name] = mask
        fused = self.join(parts, {name: mask.reshape(-1) for name, mask in there.items()}, train)
        anything = jnp.stack([*there.values()]).any(0)

        def mean(mask: jax.Array, x: jax.Array) -> jax.Array:
            return masked_mean(x.reshape(*mask.shape, -1), mask)

        moments = Tokens(fused.features.reshape(*anything.shape, -1), anything)
        return Fused(moments, moments.mean(), jax.tree.map(lambda x: mean(anything, x), fused.logits),
                     {name: jax.tree.map(lambda x, mask=there[name]: mean(mask, x), logits)
                      for name, logits in fused.stream_logits.items()}, timed=True)
