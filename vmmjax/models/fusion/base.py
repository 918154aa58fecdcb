"""What fusions have in common: which streams are there, one vector of each, and the one vector that they make."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.tokens import Fused, Tokens

ABSENT = ('learned', 'zero')


def single(features: jax.Array, anything: jax.Array) -> Fused:
    """One token a clip; zero, and without gradient, where nothing is present.

    Args:
      features: (B, D), finite in every row.
      anything: bool (B,).
    """
    features = jnp.where(anything[:, None], features, 0)
    return Fused(Tokens(features[:, None], anything[:, None]), features)


def counted(there: jax.Array) -> jax.Array:
    """The streams (B, S) that an average is over: those present, or all in a row without any, which is dropped later.

    So no sum of weights is ever zero.
    """
    return there | ~there.any(-1, keepdims=True)


class Fusion(nn.Module):
    """Several streams become one: `fusion(tokens, present, train) -> Fused`.

    Nothing depends on what an absent stream holds, or on whether it is in the batch at all.

    In the formulas h_m is the mean of the valid tokens of stream m, p_m is 1 where it is present and 0 elsewhere.

    Attributes:
      streams: names, in the order of the formulas.
      dtype: computations.
    """

    streams: Sequence[str]
    dtype: Any = jnp.float32

    def there(self, present: Mapping[str, jax.Array]) -> jax.Array:
        """All p_m as one array, bool (B, S)."""
        return jnp.stack([present[name] for name in self.streams], -1)

    def default(self, name: str, size: int, absent: str) -> jax.Array:
        """What stands for a vector of an absent stream, (size,).

        Args:
          name: of the stream.
          size: length.
          absent: `learned`, a parameter that is zero at first and lets what follows tell absence from an average
            clip; or `zero`.

        Raises:
          UserError: for another word.
        """
        if absent not in ABSENT:
            raise UserError(f'A fusion has no absent={absent!r}: {did_you_mean(absent, ABSENT)}.')
        return jnp.zeros(size) if absent == 'zero' else self.param(f'absent_{name}', nn.initializers.zeros, (size,))

    def vectors(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], absent: str) -> list[jax.Array]:
        """Every h_m (B, D_m), and its `default` where the stream is absent.

        Args:
          tokens: (B, N, D_m) of each stream.
          present: (B,) of each stream.
          absent: see `default`.
        """
        found = []
        for name in self.streams:
            mean = tokens[name].mean()
            default = self.default(name, mean.shape[-1], absent).astype(mean.dtype)
            found.append(jnp.where(present[name][:, None], mean, default).astype(self.dtype))
        return found

    def average_weights(self, there: jax.Array, fixed: Mapping[str, float] | None) -> jax.Array:
        """Weights (B, S) that sum to 1 over the streams present in a row.

        Args:
          there: bool (B, S).
          fixed: stream -> a positive number, to which its weight is proportional; None for learned weights, the
            exponentials of `scores`, equal at first.

        Raises:
          UserError: where `fixed` does not give a positive number for every stream.
        """
        if fixed is None:
            scores = self.param('scores', nn.initializers.zeros, (len(self.streams),))
        else:
            numbers = dict(fixed)
            if {*numbers} != {*self.streams} or min(numbers.values()) <= 0:
                raise UserError(f'The weights of a fusion are {numbers}; give one positive number for every stream of '
                                f'{", ".join(self.streams)}.')
            scores = jnp.log(jnp.asarray([numbers[name] for name in self.streams], jnp.float32))
        # Broadcast by hand: softmax(where=...) of a smaller array silently gives other weights.
        counts = counted(there)
        return nn.softmax(jnp.broadcast_to(scores, counts.shape), where=counts).astype(self.dtype)

    def two(self) -> tuple[str, str]:
        """The names of the two streams.

        Raises:
          UserError: where there are not exactly two.
        """
        if len(self.streams) != 2:
            raise UserError(f'The fusion {type(self).__name__} is of two streams, and the model has '
                            f'{", ".join(self.streams)}; choose another fusion or other encoders.')
        return self.streams[0], self.streams[1]
