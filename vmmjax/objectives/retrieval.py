"""Two streams of a clip find each other."""

import dataclasses
from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vmmjax.errors import UserError, did_you_mean
from vmmjax.objectives.base import Apply, Batch, Loss

_EXCLUDED = -1e9  # Not infinity, whose differences are NaN.


@dataclasses.dataclass(frozen=True)
class Retrieval:
    """Symmetric InfoNCE between the embeddings of two streams (Radford et al. 2021, figure 3).

    `mean_i -log softmax_j(u_i v_j / temperature)_i`, mean of both directions, u and v of length 1. A stream's embedding
    is what its own head makes of it (`config.model.stream_head`). Only rows with both streams count, as questions and
    as answers; further rows of the same clip are no wrong answers.

    Attributes:
      target: not read; a clip's streams are each other's.
      streams: the two.
      dimensions: of the embeddings.
      temperature: fixed.
      compares_rows: see `Objective`.
    """

    target: str | Sequence[str]
    streams: Sequence[str] = ()
    dimensions: int = 128
    temperature: float = 0.07
    compares_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if len(self.streams) != 2 or self.streams[0] == self.streams[1]:
            raise UserError(f'config.task.streams is {tuple(self.streams)}; name the two streams that shall find each '
                            f'other.')

    def __call__(self, apply: Apply, params: Any, model_state: Any, batch: Batch, rng: jax.Array) -> Loss:
        """See `Objective`; the term is `loss`, the metric `recall1`, how often the right one is nearest."""
        outputs, model_state = apply({'params': params, **model_state}, batch, train=True,
                                     rngs={'dropout': rng}, mutable=list(model_state))
        one, other = (self.embedding(outputs, stream) for stream in self.streams)
        valid = jnp.logical_and(*(outputs.present[stream] for stream in self.streams)) & (batch['mask'] > 0)
        same = batch['id'][:, None] == batch['id']
        excluded = ~valid | (same & ~jnp.eye(len(valid), dtype=bool))
        alike = one @ other.T / self.temperature
        losses, hits = zip(*(_nearest(x, valid, excluded) for x in (alike, alike.T)), strict=True)
        count = valid.sum().astype(jnp.float32)
        return Loss(terms={'loss': (sum(losses) / 2, count)}, model_state=model_state,
                    metrics={'recall1': (sum(hits) / 2, count)})

    def embedding(self, outputs: Any, stream: str) -> jax.Array:
        """A stream's embedding, float32 (B, D) of length 1, or 0 where the stream is not there.

        Raises:
          UserError: where it has no head of its own.
        """
        heads = outputs.stream_logits
        if stream not in heads:
            what = f'config.task.streams names {stream!r}: {did_you_mean(stream, heads)}.' if heads else (
                'config.task.name is retrieval, which needs an embedding of every stream; set '
                "config.model.stream_head = dict(name='consensus').")
            raise UserError(what)
        x = heads[stream].astype(jnp.float32)
        return x * jax.lax.rsqrt((x ** 2).sum(-1, keepdims=True) + 1e-12)


def _nearest(alike: jax.Array, valid: jax.Array, excluded: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums over the valid rows: the loss, and how many have their own the nearest."""
    alike = jnp.where(excluded, _EXCLUDED, alike)
    own = jnp.diagonal(alike)
    loss = jnp.where(valid, jax.nn.logsumexp(alike, axis=1) - own, 0).sum()
    return loss, (valid & (own >= alike.max(1))).sum().astype(jnp.float32)
