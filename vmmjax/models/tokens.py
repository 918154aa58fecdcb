"""What passes between the parts of a model."""

import functools
import operator
from typing import Any

import flax
import jax
import jax.numpy as jnp


def masked_mean(x: jax.Array, mask: jax.Array) -> jax.Array:
    """Mean of `x` (B, N, D) over the entries of axis 1 where `mask` (B, N) holds; 0 where none does.

    What stands where the mask is False has no influence and no gradient, be it NaN.
    """
    count = jnp.maximum(mask.sum(1, keepdims=True), 1).astype(x.dtype)
    return jnp.where(mask[..., None], x, 0).sum(1) / count


def coarser(mask: jax.Array, factor: int) -> jax.Array:
    """Bool (B, N) -> (B, ceil(N / factor)): whether any of `factor` neighbours is valid."""
    padded = jnp.pad(mask, ((0, 0), (0, -mask.shape[1] % factor)))
    # Not by a reduction: XLA folds that of a constant mask, one value at a time, while it compiles.
    return functools.reduce(operator.or_, (padded[:, i::factor] for i in range(factor)))


@flax.struct.dataclass
class Tokens:
    """What an encoder makes of a stream.

    Attributes:
      x: float (B, N, D).
      mask: bool (B, N), False where a token stands for nothing: padding, an absent stream.
    """

    x: jax.Array
    mask: jax.Array

    def clean(self) -> 'Tokens':
        """The same with zeros where a token stands for nothing: NaN there would come back through the gradient."""
        return Tokens(jnp.where(self.mask[..., None], self.x, 0), self.mask)

    def mean(self) -> jax.Array:
        """Mean over valid tokens (B, D); 0 for a row that has none."""
        return masked_mean(self.x, self.mask)


@flax.struct.dataclass
class Fused:
    """What a fusion makes of all streams.

    Attributes:
      tokens: what a head classifies, one by one.
      features: float (B, D), one vector a clip; 0 for a row with nothing present.
      logits: (B, C) from a fusion of scores, of several targets a dict target -> (B, C); None from all others.
      stream_logits: stream -> the logits that a fusion of scores has joined, as `logits`; empty from all others.
      timed: whether the tokens are N equal parts of the clip's window, in order, which a head for each token needs.
    """

    tokens: Tokens
    features: jax.Array
    logits: Any = None
    stream_logits: dict[str, Any] = flax.struct.field(default_factory=dict)
    timed: bool = flax.struct.field(pytree_node=False, default=False)


@flax.struct.dataclass
class Outputs:
    """What a model makes of a clip batch.

    Attributes:
      logits: (B, C); of a head for each token (B, N, C); of a model for several targets a dict target -> these; None
        of a model without a head.
      features: (B, D), the clip's embedding before the head.
      endpoints: `<stream>/<endpoint>` -> every named intermediate of every encoder that ran, and its tokens
        (B, N, D) as `<stream>/tokens`.
      present: stream -> bool (B,), where it has something to say: neither absent nor padding.
      stream_logits: stream -> what a head of its own makes of that stream alone, as `logits`, zero where it is not
        present; empty of a model without such heads.
      stream_features: stream -> float (B, D), the mean of its encoder's tokens; 0 where it is not present.
      stream_masks: stream -> bool (B, N), which tokens of `endpoints['<stream>/tokens']` stand for something; of every
        encoder that ran.
      mask: bool (B, N), which tokens of (B, N, C) logits stand for something; token i is the i-th of N equal parts of
        the clip's window. None where logits are of the whole clip.
      tokens: the fused tokens, which decoders read; None from a model that is run frame by frame.
      timed: whether those are N equal parts of the clip's window, in order.
    """

    logits: Any
    features: jax.Array
    endpoints: dict[str, jax.Array]
    present: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
    stream_logits: dict[str, Any] = flax.struct.field(default_factory=dict)
    stream_features: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
    mask: jax.Array | None = None
    tokens: Tokens | None = None
    stream_masks: dict[str, jax.Array] = flax.struct.field(default_factory=dict)
    timed: bool = flax.struct.field(pytree_node=False, default=False)
