"""Cross-modal retrieval (symmetric InfoNCE)."""

import dataclasses
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.projector import unit
from vmmjax.tasks.matching import Matching, info_nce
from vmmjax.training.objective import Context, Loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrieval(Matching):
    """Symmetric InfoNCE between the embeddings of two streams (Radford et al. 2021, figure 3).

    `mean_i -log softmax_j(u_i v_j / temperature)_i`, mean of both directions, u and v of length 1. A stream's embedding
    is what its own head makes of it (`config.model.stream_head`). Only rows with both streams count, as questions and
    as answers; further rows of the same clip are no wrong answers. The temperature is fixed.
    """

    name: ClassVar[str] = 'retrieval'

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if len(self.streams) != 2 or self.streams[0] == self.streams[1]:
            raise UserError(f'config.task.streams is {tuple(self.streams)}; name the two streams that shall find each '
                            f'other.')

    def check(self, config: Any) -> None:
        """The two streams are there, each with a head."""
        super().check(config)
        streams = list(config.data.streams)
        for stream in self.streams:
            if stream not in streams:
                raise UserError(f'config.task.streams names {stream!r}, which is no stream: '
                                f'{did_you_mean(stream, streams)}.')
        if not config.model.stream_head:
            raise UserError("config.task.name is retrieval, which needs an embedding of every stream; set "
                            "config.model.stream_head = dict(name='consensus').")

    def loss(self, ctx: Context) -> Loss:
        """See `training.Objective`; the term is `loss`, the metric `recall1`, how often the right one is nearest."""
        outputs, model_state = ctx.forward()
        batch = ctx.batch
        one, other = (self.embedding(outputs, stream) for stream in self.streams)
        valid = jnp.logical_and(*(outputs.present[stream] for stream in self.streams)) & (batch['mask'] > 0)
        loss, recall = info_nce(one @ other.T / self.temperature, valid, batch['id'][:, None] != batch['id'])
        return Loss(terms={'loss': loss}, model_state=model_state, metrics={'recall1': recall})

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
        return unit(heads[stream])

    def read(self, outputs: Any) -> Any:
        """The two embeddings."""
        return {stream: self.embedding(outputs, stream) for stream in self.streams}
