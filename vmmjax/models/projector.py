"""From features to embeddings that are compared."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn


def unit(x: jax.Array) -> jax.Array:
    """Vectors (..., D) of length 1, in float32 at least; zeros stay."""
    x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
    return x * jax.lax.rsqrt((x ** 2).sum(-1, keepdims=True) + 1e-12)


class Projector(nn.Module):
    """A perceptron from a stream's features to its embedding (Chen et al. 2020, section 4.2).

    It has no BatchNorm, so that a row's embedding does not depend on the others.

    Attributes:
      hidden: units of its hidden layers, none for a linear map.
      dimensions: of the embedding.
    """

    hidden: Sequence[int]
    dimensions: int

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, D) -> (B, dimensions), of length 1 or zero, in float32 at least."""
        x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
        for place, size in enumerate(self.hidden):
            x = nn.gelu(nn.Dense(size, name=f'hidden_{place}')(x))
        return unit(nn.Dense(self.dimensions, use_bias=False, name='output')(x))
