"""Whether something happens, at every moment."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vmmjax.errors import UserError
from vmmjax.objectives.base import Batch
from vmmjax.objectives.supervised import Sums, Supervised

_HALF = 0.5 - 1e-6  # Rounding of times in float32 does not decide.


@dataclasses.dataclass(frozen=True)
class Events(Supervised):
    """Binary cross-entropy of every token's logit with what happens in its part of the window.

    `outputs.logits` is (B, N, 1) with `outputs.mask` (B, N), of a head `per_token`, or (B, 1), one answer for the
    window. `batch['target/events']` float32 (B, M, 2) are starts and ends in seconds in the window, NaN where a row is
    not labelled; `batch['target/window']` float32 (B, 2) its start and length.

    Attributes:
      positive: the value of the target, where that is one column, that is the event.
      high: in evaluation an alarm begins at a moment with at least this probability,
      low: and lasts as long as the probability is at least this (hysteresis).
      minimum: seconds; shorter alarms are dropped.
    """

    positive: str = ''
    high: float = 0.5
    low: float = 0.3
    minimum: float = 0.0

    def __post_init__(self) -> None:
        """Checks the thresholds."""
        if not 0 <= self.low <= self.high <= 1:
            raise UserError(f'config.task has low={self.low} and high={self.high}; thresholds are probabilities, and '
                            f'the low one is not above the high one.')

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """See `Supervised`; the term is `loss` and the metric `accuracy`, both over tokens."""
        logits = of_tokens(logits)
        # The tokens of a stream alone are another number than the fused ones.
        valid = outputs.mask if outputs.mask is not None and outputs.mask.shape == logits.shape else True
        target = token_targets(batch['target/events'], batch['target/window'][:, 1], logits.shape[1])
        known = ~jnp.isnan(target)
        weight = mask[:, None] * (known & valid)
        target = jnp.where(known, target, 0)
        loss = optax.sigmoid_binary_cross_entropy(logits, target)
        right = (logits > 0) == (target > 0)
        count = weight.sum()
        return {'loss': ((loss * weight).sum(), count)}, {'accuracy': ((right * weight).sum(), count)}


def of_tokens(logits: jax.Array) -> jax.Array:
    """Logits (B, N, 1) or (B, 1) as float32 (B, N), N = 1 for the latter."""
    return logits.astype(jnp.float32).reshape(logits.shape[0], -1)


def token_targets(events: Any, seconds: Any, tokens: int) -> jax.Array:
    """What each token should say: 1 where events fill at least half of its part of the window, else 0.

    Args:
      events: float (B, M, 2), starts and ends in seconds in the window, disjoint; NaN where a row is not labelled.
      seconds: float (B,), the windows' lengths.
      tokens: N; token n is the n-th of N equal parts.

    Returns:
      Float32 (B, N), NaN where a row is not labelled.
    """
    edges = seconds[:, None] * jnp.arange(tokens + 1) / tokens
    first = jnp.maximum(events[:, None, :, 0], edges[:, :-1, None])
    last = jnp.minimum(events[:, None, :, 1], edges[:, 1:, None])
    share = jnp.maximum(last - first, 0).sum(-1) * tokens / seconds[:, None]
    return jnp.where(jnp.isnan(share), jnp.nan, (share >= _HALF).astype(jnp.float32))
