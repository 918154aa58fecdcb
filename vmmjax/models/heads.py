"""From fused tokens to scores."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.layers import unit_init
from vmmjax.models.tokens import Fused, masked_mean


class Consensus(nn.Module):
    """Scores every token, then averages the scores over the valid ones: I3D over time, TSM over segments.

    Attributes:
      num_classes: C.
      dropout: rate on the tokens.
      deviation: of the normal that the weights are first drawn from; None takes I3D's, 1 / sqrt(fan-in).
      dtype: computations; logits are float32.
    """

    num_classes: int
    dropout: float = 0.5
    deviation: float | None = None
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, fused: Fused, train: bool) -> jax.Array:
        """Logits float32 (B, C); 0, without gradient, for a row that has no valid token."""
        x = nn.Dropout(self.dropout, deterministic=not train)(fused.tokens.clean().x)
        init = unit_init if self.deviation is None else nn.initializers.normal(self.deviation)
        logits = nn.Dense(self.num_classes, kernel_init=init, dtype=self.dtype, name='logits')(x)
        return masked_mean(logits.astype(jnp.float32), fused.tokens.mask)
