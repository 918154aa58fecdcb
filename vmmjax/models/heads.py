"""From fused tokens to scores."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.dropout import Dropout
from vmmjax.models.layers import unit_init
from vmmjax.models.tokens import Fused, Tokens, masked_mean
from vmmjax.models.transformer import attend, heads, layer_norm, published_init

_EPSILON = 1e-6  # Added to variances.


class Head(nn.Module):
    """What heads have in common: a linear layer on every token.

    Attributes:
      num_classes: C.
      dropout: rate on the tokens.
      deviation: of the normal that the weights are first drawn from; None takes I3D's, 1 / sqrt(fan-in).
      dtype: computations; logits are float32 at least.
    """

    num_classes: int
    dropout: float = 0.5
    deviation: float | None = None
    dtype: Any = jnp.float32

    def scores(self, fused: Fused, train: bool) -> jax.Array:
        """Logits float32 (B, N, C) of every token; what one that stands for nothing holds has no influence."""
        x = Dropout(self.dropout, deterministic=not train)(fused.tokens.clean().x)
        init = unit_init if self.deviation is None else nn.initializers.normal(self.deviation)
        logits = nn.Dense(self.num_classes, kernel_init=init, dtype=self.dtype, name='logits')(x)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))


class Consensus(Head):
    """Scores every token, then averages the scores over the valid ones: I3D over time, TSM over segments."""

    @nn.compact
    def __call__(self, fused: Fused, train: bool) -> jax.Array:
        """Logits float32 (B, C); 0, without gradient, for a row that has no valid token."""
        return masked_mean(self.scores(fused, train), fused.tokens.mask)


class PerToken(Head):
    """Scores every token and leaves it at that: for what begins and ends within a clip."""

    @nn.compact
    def __call__(self, fused: Fused, train: bool) -> jax.Array:
        """Logits float32 (B, N, C); 0, without gradient, for a token that stands for nothing.

        Raises:
          UserError: where the tokens are not moments of the clip.
        """
        if not fused.timed:
            raise UserError('A head per_token needs tokens that are moments of the clip: take the fusion over_time, or '
                            'concat of a single stream; a stream_head is of whole clips.')
        return jnp.where(fused.tokens.mask[..., None], self.scores(fused, train), 0)


class Attentive(Head):
    """Scores what a learned query sees of the valid tokens: with fixed encoders an attentive probe.

    LayerNorm, attention of one query, LayerNorm, and the linear layer, as CoCa's pooling with one query (Yu et al.
    2022, section 3.2). V-JEPA's probe has a perceptron behind the attention, too (Bardes et al. 2024).

    Attributes:
      num_attention_heads: of the query; they share the token's features.
    """

    num_attention_heads: int = 1

    @nn.compact
    def __call__(self, fused: Fused, train: bool) -> jax.Array:
        """Logits float32 (B, C); 0, without gradient, for a row that has no valid token.

        Raises:
          UserError: for a number of heads that does not divide the length of the tokens.
        """
        tokens = fused.tokens.clean()
        rows, count, width = tokens.x.shape
        number = heads(width, self.num_attention_heads, {})
        x = layer_norm(_EPSILON, name='norm', dtype=self.dtype)(tokens.x)
        dense = functools.partial(nn.Dense, width, kernel_init=published_init, dtype=self.dtype)
        query = self.param('query', published_init, (number, width // number))
        key, value = (dense(name=name)(x).reshape(rows, count, number, -1) for name in ('key', 'value'))
        seen = attend(jnp.broadcast_to(query.astype(x.dtype), (rows, 1, *query.shape)), key, value, tokens.mask,
                      lambda weights: weights)
        seen = dense(name='output')(seen.reshape(rows, 1, width))
        seen = layer_norm(_EPSILON, name='output_norm', dtype=self.dtype)(seen)
        there = tokens.mask.any(1, keepdims=True)
        return masked_mean(self.scores(dataclasses.replace(fused, tokens=Tokens(seen, there)), train), there)
