"""The one signature of objectives, and how their terms become one number."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

Batch = Mapping[str, jax.Array]
Apply = Callable[..., Any]
"""`apply(variables, batch, train=..., rngs=..., mutable=...)`, as of a linen Module, on a raw clip batch."""


class Loss(NamedTuple):
    """What an objective returns.

    Attributes:
      terms: name -> (sum over examples, sum of weights); each is a scalar float32. Sums, so that terms of
        several microbatches or devices add up exactly. The loss is the sum of their means.
      model_state: the collections beside the parameters after this batch (batch statistics).
      metrics: name -> (sum, weight), reported and not minimised.
    """

    terms: dict[str, tuple[jax.Array, jax.Array]]
    model_state: Any
    metrics: dict[str, tuple[jax.Array, jax.Array]]


class Objective(Protocol):
    """A function from parameters and a batch to a Loss.

    Weights of terms do not depend on the parameters. One in which a row's loss depends on other rows says so by an
    attribute `compares_rows`, which is True; its batches are not parted.
    """

    def __call__(self, apply: Apply, params: Any, model_state: Any, batch: Batch, rng: jax.Array) -> Loss:
        """Evaluates the objective in training mode; `rng` is the step's own key."""
        ...


def mean_of(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Sum / weight; 0 where the weight is 0, with zero gradient."""
    value, weight = pair
    return jnp.where(weight > 0, value / jnp.where(weight > 0, weight, 1), 0)


def total(loss: Loss) -> jax.Array:
    """The scalar that is minimised: the sum of the terms' means."""
    return sum((mean_of(term) for term in loss.terms.values()), start=jnp.zeros(()))
