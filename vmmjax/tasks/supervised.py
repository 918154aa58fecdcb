"""What tasks with targets share: the fused answer is judged, and that of every stream alone where asked for."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp

from vmmjax.errors import UserError, did_you_mean
from vmmjax.tasks.base import Task
from vmmjax.training.objective import Batch, Context, Loss

FUSED = 'fused'
Sums = dict[str, tuple[jax.Array, jax.Array]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Supervised(Task):
    """Judges `outputs.logits` and, weighted, every stream's own `outputs.stream_logits`.

    The terms are those of `judge`; with `stream_weights` there are further ones for each stream, named `loss_<stream>`,
    over the rows in which it is present: `w_fused L_fused + sum_m w_m L_m` (Wang, Tran and Feiszli 2020).
    What is not weighted stands in the metrics, `loss_<stream>` and `loss_fused`. `vmmjax blend` measures weights.

    Attributes:
      stream_weights: stream -> w_m, and `fused` -> w_fused, 1 where it is not named; empty for the fused answer alone.
        The model needs heads of streams: `config.model.stream_head`.
    """

    stream_weights: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def loss(self, ctx: Context) -> Loss:
        """See `training.Objective`; terms and metrics are those of `judge`.

        Raises:
          UserError: for a weight of a stream that has no head.
        """
        outputs, model_state = ctx.forward()
        batch = ctx.batch
        terms, metrics = self.judge(outputs.logits, outputs, batch, batch['mask'])
        weights = dict(self.stream_weights)
        if weights:
            fused = weights.pop(FUSED, 1.0)
            metrics |= {f'{name}_{FUSED}': pair for name, pair in terms.items()}
            terms = _weighted(terms, fused)
            for stream, weight in weights.items():
                if stream not in outputs.stream_logits:
                    self._refuse(stream, outputs.stream_logits)
                mask = batch['mask'] * outputs.present[stream]
                own, found = self.judge(outputs.stream_logits[stream], outputs, batch, mask)
                metrics |= {f'{name}_{stream}': pair for name, pair in (own | found).items()}
                terms |= {f'{name}_{stream}': pair for name, pair in _weighted(own, weight).items()}
        return Loss(terms=terms, model_state=model_state, metrics=metrics)

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """Terms and metrics of one answer, as `Loss` has them.

        Args:
          logits: the fused ones or a stream's.
          outputs: of the model.
          batch: with the targets.
          mask: float32 (B,), 0 for rows that do not count.
        """
        raise NotImplementedError

    def _refuse(self, stream: str, heads: Mapping[str, Any]) -> None:
        if heads:
            raise UserError(f'config.task.stream_weights names {stream!r}: {did_you_mean(stream, [*heads, FUSED])}.')
        raise UserError("config.task.stream_weights needs a head for every stream; set config.model.stream_head = "
                        "dict(name='consensus').")


def _weighted(terms: Sums, weight: float) -> Sums:
    return {name: (weight * value, count) for name, (value, count) in terms.items()}


def of_clips(logits: jax.Array) -> jax.Array:
    """The logits (B, C) in float32 at least.

    Raises:
      UserError: where they are of tokens (B, N, C).
    """
    if logits.ndim != 2:
        raise UserError("The head answers for every token, and the task has one answer a clip; choose "
                        "config.model.head.name = 'consensus'.")
    return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
