"""Which stream said what: Shapley values over the streams, by true absence.

Shapley, "A Value for n-Person Games", 1953. A stream that is left out is absent (`present/<stream>` False), which a
model here is made for; nothing is put in its place. Values are exact: all 2^S coalitions are computed.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError
from vmmjax.explain.score import Batch, Score

MOST_STREAMS = 6


def coalitions(streams: Sequence[str]) -> list[tuple[str, ...]]:
    """All subsets of the streams, the empty one first; stream i is in the k-th where bit i of k is set.

    Raises:
      UserError: for more than 6 streams.
    """
    if len(streams) > MOST_STREAMS:
        raise UserError(f'{len(streams)} streams have {2 ** len(streams)} subsets, and Shapley values need them all; '
                        f'they are computed for up to {MOST_STREAMS} streams.')
    return [tuple(name for i, name in enumerate(streams) if k >> i & 1) for k in range(2 ** len(streams))]


def coalition_scores(score: Score, streams: Sequence[str]) -> Callable[[Any, Batch, jax.Array], jax.Array]:
    """A compiled function of (variables, batch, classes) that gives the scores of all coalitions, (2^S, B).

    They are computed one after another, so that memory does not grow with their number.

    Args:
      score: what is explained.
      streams: of the model, in the order of `coalitions`.
    """
    inside = np.array([[name in chosen for name in streams] for chosen in coalitions(streams)])

    def scores(variables: Any, batch: Batch, classes: jax.Array) -> jax.Array:
        there = {name: batch.get(f'present/{name}', jnp.ones(classes.shape, bool)) for name in streams}

        def one(chosen: jax.Array) -> jax.Array:
            present = {f'present/{name}': there[name] & chosen[i] for i, name in enumerate(streams)}
            return score(variables, {**batch, **present}, classes)

        return jax.lax.map(one, inside)

    return jax.jit(scores)


def shapley(values: np.ndarray) -> np.ndarray:
    """The Shapley value of each player, float64 (S, ...).

    Efficiency: they sum to `values[-1] - values[0]`. A player that changes no coalition has 0; two that are
    interchangeable have the same.

    Args:
      values: (2^S, ...), of all coalitions in the order of `coalitions`.
    """
    values = np.asarray(values, np.float64)
    count = len(values).bit_length() - 1
    found = np.zeros((count, *values.shape[1:]))
    for player, k in itertools.product(range(count), range(len(values))):
        if not k >> player & 1:
            size = k.bit_count()
            weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
            found[player] += weight * (values[k | 1 << player] - values[k])
    return found
