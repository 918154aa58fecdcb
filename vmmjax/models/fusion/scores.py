"""Every stream is scored by a head of its own, and the scores are joined."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.fusion.base import Fusion, counted, single
from vmmjax.models.heads import Consensus
from vmmjax.models.tokens import Fused, Tokens
from vmmjax.registry import find


class Scores(Fusion):
    """Fusion of scores: `l_m`, a `Consensus` head on the tokens of stream m, joined in one of three ways.

    - `sum`: `sum_m p_m l_m`, as the two streams of I3D are added (Carreira and Zisserman 2017).
    - `probability`: `log(sum_m p_m softmax(l_m) / sum_m p_m)`, whose softmax is the mean of the probabilities.
    - `weighted`: `sum_m p_m w_m l_m / sum_m p_m w_m` with `w_m = exp(scores_m)` learned, equal at first.

    An absent stream has no say. The model's head is not used; features are all h_m one after another, zero where
    absent.

    Attributes:
      combine: `sum`, `probability` or `weighted`.
      num_classes: C; 0 for no heads. For several targets the classes of each: every stream has a head for each.
      dropout: rate on the tokens that a head sees.
    """

    combine: str = 'sum'
    num_classes: int | Mapping[str, int] = 0
    dropout: float = 0.0

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """Fuses tokens (B, N, D_m) of each stream; `present` (B,) bool says in which rows a stream is there.

        Returns:
          `logits` float32 (B, C), zero for a row with nothing present, and those of every stream.

        Raises:
          UserError: for an unknown way to combine.
        """
        there = self.there(present)
        anything = there.any(-1)
        fused = single(jnp.concatenate(self.vectors(tokens, present, 'zero'), -1), anything)
        combine = find(self.combine, _COMBINE, 'way to combine scores')
        if not self.num_classes:
            return fused
        weights = self.average_weights(there, None) if self.combine == 'weighted' else there

        def scores(name: str, classes: int, suffix: str = '') -> jax.Array:
            head = Consensus(classes, self.dropout, dtype=self.dtype, name=f'head_{name}{suffix}')
            return head(Fused(tokens[name], tokens[name].mean()), train)

        def joined(*logits: jax.Array) -> jax.Array:
            return jnp.where(anything[:, None], combine(jnp.stack(logits, 1), weights), 0)

        each: dict[str, Any] = {}
        for name in self.streams:
            if isinstance(self.num_classes, Mapping):
                each[name] = {target: scores(name, classes, f'_{target}')
                              for target, classes in self.num_classes.items()}
            else:
                each[name] = scores(name, self.num_classes)
        return dataclasses.replace(fused, logits=jax.tree.map(joined, *each.values()), stream_logits=each)


def _sum(logits: jax.Array, weights: jax.Array) -> jax.Array:
    return (logits * weights[..., None]).sum(1)


def _probability(logits: jax.Array, there: jax.Array) -> jax.Array:
    counts = counted(there)[..., None]
    total = nn.logsumexp(nn.log_softmax(logits), axis=1, where=counts)
    return total - jnp.log(counts.sum(1))


_COMBINE: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    'sum': _sum, 'probability': _probability, 'weighted': _sum}
