"""Sums and concatenations."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.fusion.base import Fusion, single
from vmmjax.models.tokens import Fused, Tokens


class Concat(Fusion):
    """Concatenation: `[h_1; h_2; ...]`.

    Of a single stream the tokens pass as they are, so that a head sees each of them.

    Attributes:
      absent: what stands for h_m where the stream is absent, see `Fusion.default`.
    """

    absent: str = 'learned'

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """Fuses tokens (B, N, D_m) of each stream; `present` (B,) bool says in which rows a stream is there."""
        if len(self.streams) == 1:
            only = tokens[self.streams[0]]
            return Fused(only, only.mean(), timed=True)
        return single(jnp.concatenate(self.vectors(tokens, present, self.absent), -1), self.there(present).any(-1))


class TanhConcat(Fusion):
    """Concatenation of bounded projections: `W [tanh(W_1 h_1); tanh(W_2 h_2); ...]`.

    Attributes:
      features: rows of every matrix.
      absent: what stands for h_m where the stream is absent, see `Fusion.default`; with `zero` its part is zero.
    """

    features: int = 256
    absent: str = 'learned'

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """See `Concat`."""
        parts = [nn.tanh(nn.Dense(self.features, use_bias=False, dtype=self.dtype, name=f'project_{name}')(vector))
                 for name, vector in zip(self.streams, self.vectors(tokens, present, self.absent), strict=True)]
        joined = nn.Dense(self.features, use_bias=False, dtype=self.dtype, name='join')(jnp.concatenate(parts, -1))
        return single(joined, self.there(present).any(-1))


class Sum(Fusion):
    """Sum of projections: `sum_m p_m (W_m h_m + b_m)`. An absent stream adds nothing.

    Attributes:
      features: the common length.
    """

    features: int = 256

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """See `Concat`."""
        there = self.there(present)
        return single((project(self, tokens, self.features) * there[..., None]).sum(1), there.any(-1))


class WeightedAverage(Fusion):
    """Weighted average of projections: `sum_m p_m w_m (W_m h_m + b_m) / sum_m p_m w_m`.

    Attributes:
      features: the common length.
      weights: stream -> w_m; None for learned ones, `w_m = exp(scores_m)`, equal at first.
    """

    features: int = 256
    weights: Mapping[str, float] | None = None

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """See `Concat`."""
        there = self.there(present)
        weights = self.average_weights(there, self.weights)
        return single((project(self, tokens, self.features) * weights[..., None]).sum(1), there.any(-1))


def project(fusion: Fusion, tokens: Mapping[str, Tokens], features: int) -> jax.Array:
    """`W_m h_m + b_m` of every stream (B, S, features), as parameters `project_<stream>` of a fusion."""
    return jnp.stack([nn.Dense(features, dtype=fusion.dtype, name=f'project_{name}')(tokens[name].mean())
                      for name in fusion.streams], 1)
