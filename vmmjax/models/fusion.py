"""Several streams become one. A fusion is `(tokens, present) -> Fused`; its streams are fixed when it is built."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.tokens import Fused, Tokens


def _single(features: jax.Array, anything: jax.Array) -> Fused:
    """One token a clip; zero, and without gradient, where nothing is present."""
    features = jnp.where(anything[:, None], features, 0)
    return Fused(Tokens(features[:, None], anything[:, None]), features)


class Concat(nn.Module):
    """The mean tokens of all streams, one after another in the order of `streams`.

    In the place of an absent stream stands a learned vector, zero at first, which lets what follows tell absence
    from an average clip. Of a single stream the tokens pass as they are, so that a head sees each of them.

    Attributes:
      streams: names.
      dtype: computations.
    """

    streams: Sequence[str]
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array]) -> Fused:
        """Fuses tokens (B, N, D) of each stream; `present` (B,) bool says in which rows a stream is there."""
        if len(self.streams) == 1:
            only = tokens[self.streams[0]]
            return Fused(only, only.mean())
        parts = []
        for name in self.streams:
            mean = tokens[name].mean()
            absent = self.param(f'absent_{name}', nn.initializers.zeros, mean.shape[-1:])
            parts.append(jnp.where(present[name][:, None], mean, absent.astype(mean.dtype)))
        anything = jnp.stack([present[name] for name in self.streams]).any(0)
        return _single(jnp.concatenate(parts, -1).astype(self.dtype), anything)


class WeightedAverage(nn.Module):
    """The streams' mean tokens, each projected to one length, averaged with learned weights.

    The weights are a softmax over the streams present in the row, equal at first.

    Attributes:
      streams: names.
      features: the common length.
      dtype: computations.
    """

    streams: Sequence[str]
    features: int = 256
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array]) -> Fused:
        """See `Concat`."""
        scores = self.param('scores', nn.initializers.zeros, (len(self.streams),))
        there = jnp.stack([present[name] for name in self.streams], -1)
        # Where nothing is present the softmax is over all; `_single` drops its result.
        counted = there | ~there.any(-1, keepdims=True)
        # Broadcast by hand: softmax(where=...) of a smaller array silently gives other weights.
        weights = nn.softmax(jnp.broadcast_to(scores, counted.shape), where=counted).astype(self.dtype)
        projected = [nn.Dense(self.features, dtype=self.dtype, name=f'project_{name}')(tokens[name].mean())
                     for name in self.streams]
        return _single((jnp.stack(projected, 1) * weights[..., None]).sum(1), there.any(-1))
