"""Where and when, at a layer: HiResCAM and Grad-CAM.

Draelos and Carin, "Use HiResCAM instead of Grad-CAM for faithful explanations of convolutional neural networks", 2020;
Selvaraju et al., "Grad-CAM", 2017, with time as a further axis of the layer. Neither is rectified: what speaks against
a class is negative.
"""

from collections.abc import Callable
from typing import Any

import flax
import jax
import jax.numpy as jnp

from vmmjax.explain.layers import Arrange, changed
from vmmjax.explain.score import Batch, Score


@flax.struct.dataclass
class Cams:
    """Maps at a layer.

    Attributes:
      hirescam: (B, T', *places), gradient times activation, summed over channels.
      gradcam: (B, T', *places), the same with the gradient's mean over time and places.
      change: (B,), the score less what it is with the layer's output zero. HiResCAM sums to it where all that follows
        is linear, as a mean and a linear head are (ReLU, too, which is linear from zero to an activation); elsewhere
        it is a heuristic, and the difference says how far.
    """

    hirescam: jax.Array
    gradcam: jax.Array
    change: jax.Array


def cams(score: Score, path: str, arrange: Arrange) -> Callable[[Any, Batch, jax.Array], Cams]:
    """A compiled function of (variables, batch, classes) that gives `Cams`.

    Args:
      score: what is explained.
      path: of the layer.
      arrange: see `layers.arrangement`.
    """
    def maps(variables: Any, batch: Batch, classes: jax.Array) -> Cams:
        def run(delta: jax.Array | float) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
            seen: list[jax.Array] = []

            def add(x: jax.Array) -> jax.Array:
                seen.append(x)
                return x + delta

            with changed({path: add}):
                value = score(variables, batch, classes)
            return value.sum(), (value, seen[0])

        like = jax.eval_shape(run, 0.0)[1][1]
        gradient, (value, x) = jax.grad(run, has_aux=True)(jnp.zeros(like.shape, like.dtype))
        with changed({path: jnp.zeros_like}):
            without = score(variables, batch, classes)
        gradient, x = (arrange(each).astype(jnp.float32) for each in (gradient, x))
        mean = gradient.mean(tuple(range(1, gradient.ndim - 1)), keepdims=True)
        return Cams((gradient * x).sum(-1), (mean * x).sum(-1), value - without)

    return jax.jit(maps)
