"""What the training step minimises: the interface between it and a task, and how terms become one number."""

import dataclasses
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, Self

import jax
import jax.numpy as jnp

from vmmjax.models.dropout import rows_of_batch
from vmmjax.training import views

Batch = Mapping[str, jax.Array]
Apply = Callable[..., Any]
"""`apply(variables, batch, train=..., rngs=..., mutable=...)`, as of a linen Module, on a raw clip batch."""


class Loss(NamedTuple):
    """What a player minimises.

    Attributes:
      terms: name -> (sum over examples, sum of weights); each is a scalar float32. Sums, so that terms of
        several microbatches or devices add up exactly. The loss is the sum of their means. Weights do not depend on
        the parameters.
      model_state: the collections beside the parameters after this batch (batch statistics).
      metrics: name -> (sum, weight), reported and not minimised.
    """

    terms: dict[str, tuple[jax.Array, jax.Array]]
    model_state: Any
    metrics: dict[str, tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True)
class Context:
    """What a loss, or a prediction, is computed from.

    Attributes:
      apply: the model on a raw clip batch.
      params: the parameters, those of the task itself among them (`task`, `task_training`).
      model_state: the other collections, such as `{'batch_stats': ...}`.
      batch: a raw clip batch; one part of it in microbatches.
      seed: of the run.
      step: int32 scalar, steps done; None in evaluation.
      ema: the parameters with their moving averages in place of those that have one, gradient stopped; None in
        evaluation.
      rng: key of dropout; None in evaluation.
      rows: rows of the whole batch of which `batch` is a part; None where it is the whole.
    """

    apply: Apply
    params: Any
    model_state: Any
    batch: Batch
    seed: int = 0
    step: jax.Array | None = None
    ema: Any = None
    rng: jax.Array | None = None
    rows: int | None = None

    @property
    def train(self) -> bool:
        """Whether this is a step of training."""
        return self.step is not None

    def forward(self, params: Any = None) -> tuple[Any, Any]:
        """Runs the model on the batch, in training mode in training.

        Args:
          params: in place of the context's, such as `ema`.

        Returns:
          The model's `Outputs`, and the model state after this batch (in evaluation the one before).
        """
        variables = {'params': self.params if params is None else params, **self.model_state}
        if not self.train:
            return self.apply(variables, self.batch, train=False), self.model_state
        with rows_of_batch(None if self.rows is None else self.batch['row'], self.rows):
            outputs, model_state = self.apply(variables, self.batch, train=True, rngs={'dropout': self.rng},
                                              mutable=list(self.model_state))
        return outputs, {**self.model_state, **model_state}

    def keys(self, name: str) -> jax.Array:
        """A random key for every row of the batch, (B,): a function of (seed, name, step, place in the global batch).

        In evaluation of (seed, name, id, view). It depends on no microbatch, process or restart.

        Args:
          name: what the numbers are for.
        """
        key = jax.random.fold_in(jax.random.key(self.seed), zlib.crc32(name.encode()))
        if self.step is not None:
            return jax.vmap(jax.random.fold_in, (None, 0))(jax.random.fold_in(key, self.step), self.batch['row'])
        of_clips = jax.vmap(jax.random.fold_in, (None, 0))(key, self.batch['id'])
        return jax.vmap(jax.random.fold_in)(of_clips, self.batch.get('view', jnp.zeros_like(self.batch['id'])))

    def view(self, number: int) -> Self:
        """The context of another view of the same clips, see `training.views.view`."""
        return dataclasses.replace(self, batch=views.view(self.batch, number))


class Objective(Protocol):
    """What can be minimised: a task, for the step.

    One in which a row's loss depends on other rows says so by an attribute `compares_rows`, which is True. Its batches
    are not parted unless it has two more methods, see `cached_gradients`: `embed(ctx) -> (tree of float arrays
    (B, ...), model state)`, in which a row depends on no other, and `compare(ctx, embeddings) -> Loss`, of all rows.
    """

    def loss(self, ctx: Context) -> Loss | dict[str, Loss]:
        """The loss in training mode; of several players one each, by name, all with the same model state."""
        ...


def mean_of(pair: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Sum / weight; 0 where the weight is 0, with zero gradient."""
    value, weight = pair
    return jnp.where(weight > 0, value / jnp.where(weight > 0, weight, 1), 0)


def total(loss: Loss) -> jax.Array:
    """The scalar that is minimised: the sum of the terms' means."""
    return sum((mean_of(term) for term in loss.terms.values()), start=jnp.zeros(()))
