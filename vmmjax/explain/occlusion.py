"""Where and when, for any network: what the score loses when a part of the input is hidden.

Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2013, section 4.2; over a grid of time and
space, or time and frequency.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.explain.score import Batch, Score

# Parts along time, and along rows and columns, or frequency.
PICTURES, SPECTRUM, WAVEFORM = (4, 4, 4), (16, 8), (32,)


def grid(shape: Sequence[int]) -> tuple[int, ...]:
    """Into how many parts a stream is cut along each of its axes, at most their length; words are parts as they are.

    Args:
      shape: of the normalised stream: (B, T, H, W, C), (B, F, M), (B, S); of words (B, L).
    """
    parts = {5: PICTURES, 3: SPECTRUM, 2: WAVEFORM}[len(shape)]
    return tuple(map(min, parts, shape[1:]))


def cells(lengths: Sequence[int], parts: Sequence[int]) -> np.ndarray:
    """The number of the part that each place lies in, int32 `lengths`; parts are counted as their array's elements."""
    along = [np.arange(length) * count // length for length, count in zip(lengths, parts, strict=True)]
    return np.ravel_multi_index(np.meshgrid(*along, indexing='ij'), tuple(parts)).astype(np.int32)


def occlusion(score: Score, stream: str) -> Callable[..., jax.Array]:
    """A compiled function of (variables, batch, classes, baseline, numbers, parts): the losses of the score (parts, B).

    `numbers` is of `cells`, (T, H, W), (F, M), (S,) or (L,), and `parts` how many there are. In a part stands the
    baseline, an array like the stream; words that are hidden are left out (`<stream>_mask` False), and their baseline
    is not looked at. Parts follow one another, so that memory does not grow with their number.

    Args:
      score: what is explained.
      stream: that is hidden in part.
    """
    def losses(variables: Any, batch: Batch, classes: jax.Array, baseline: jax.Array, numbers: jax.Array,
               parts: int) -> jax.Array:
        x = batch[stream]
        key = f'{stream}_mask'

        def one(part: jax.Array) -> jax.Array:
            hidden = (numbers == part)[None]
            if jnp.issubdtype(x.dtype, jnp.integer):
                changed = {key: (batch[key] > 0 if key in batch else True) & ~hidden}
            else:
                changed = {stream: jnp.where(hidden[..., None] if x.ndim == 5 else hidden, baseline, x)}
            return score(variables, {**batch, **changed}, classes)

        scores = jax.lax.map(one, jnp.arange(-1, parts))  # The first hides nothing.
        return scores[0] - scores[1:]

    return jax.jit(losses, static_argnames='parts')
