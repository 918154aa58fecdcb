"""Cross-modal retrieval (symmetric InfoNCE)."""

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import metrics
from vmmjax.evaluation.predictions import Predictions
from vmmjax.pipeline.targets import NoTargets, Targets
from vmmjax.tasks.base import Task
from vmmjax.training.objective import Context, Loss

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_EXCLUDED = -1e9  # Not infinity, whose differences are NaN.
_BEST = (1, 5, 10)
_BLOCK = 1024  # Questions that are compared at a time; memory is this times the number of clips.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Retrieval(Task):
    """Symmetric InfoNCE between the embeddings of two streams (Radford et al. 2021, figure 3).

    `mean_i -log softmax_j(u_i v_j / temperature)_i`, mean of both directions, u and v of length 1. A stream's embedding
    is what its own head makes of it (`config.model.stream_head`). Only rows with both streams count, as questions and
    as answers; further rows of the same clip are no wrong answers.

    Measured are recall among the best 1, 5 and 10 and the median rank, both ways, over the clips that have both
    streams.

    Attributes:
      streams: the two.
      dimensions: of the embeddings.
      temperature: fixed.
    """

    streams: Sequence[str] = ()
    dimensions: int = 128
    temperature: float = 0.07

    name: ClassVar[str] = 'retrieval'
    plain: ClassVar[tuple[str, ...]] = ('median_rank',)
    chance_of: ClassVar[str] = 'a random order'
    compares_rows: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if len(self.streams) != 2 or self.streams[0] == self.streams[1]:
            raise UserError(f'config.task.streams is {tuple(self.streams)}; name the two streams that shall find each '
                            f'other.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """None: a clip's streams are each other's."""
        return NoTargets()

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """`classes`, names of the dimensions of the embeddings."""
        return {'classes': [f'dimension {place}' for place in range(self.dimensions)]}

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

    def read(self, outputs: Any) -> Any:
        """The two embeddings."""
        return {stream: self.embedding(outputs, stream) for stream in self.streams}

    def subsets(self, streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """A stream's embedding does not depend on the others: there is nothing to withhold."""
        return {'+'.join(self.streams): tuple(streams)}

    def examples(self, rows: Predictions) -> int:
        """Clips with both streams."""
        return int(self._both(rows).sum())

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; the loss is InfoNCE among all these clips."""
        figures: dict[str, float] = {}
        losses = []
        for name, (ranks, loss) in self._ranks(rows).items():
            figures |= {f'recall{best}_{name}': float((ranks <= best).mean()) for best in _BEST}
            figures[f'median_rank_{name}'] = float(np.median(ranks))
            losses.append(loss)
        return figures | {'loss': float(np.mean(losses))}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`: the recalls, each among these clips; another gallery is not in the interval."""
        both = self._both(rows)
        found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for name, (ranks, _) in self._ranks(rows).items():
            for best in _BEST:
                values = np.full(len(both), np.nan)
                values[both] = ranks <= best
                found[f'recall{best}_{name}'] = values, None
        return found

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What a random order gets."""
        clips = self.examples(rows)
        one, other = self.streams
        found: dict[str, float] = {}
        for name in (f'{one}_to_{other}', f'{other}_to_{one}'):
            found |= {f'recall{best}_{name}': min(1.0, best / clips) for best in _BEST}
            found[f'median_rank_{name}'] = (clips + 1) / 2
        return found

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """How alike the two streams of a clip are, the cosine of their embeddings; `embeddings` has these by stream.

        Other clips' embeddings find the clip, or are found by it.
        """
        there = [stream for stream in self.streams if rows.present[stream][place]]
        vectors = {stream: _unit(rows.scores[stream][place][None])[0] for stream in there}
        alike = float(vectors[self.streams[0]] @ vectors[self.streams[1]]) if len(there) == 2 else None
        return [{'target': ' and '.join(self.streams), 'truth': '', 'probability': None,
                 'named': [] if alike is None else [[f'cosine {alike:.4f}', None]], 'cosine': alike,
                 'embeddings': {stream: vector.tolist() for stream, vector in vectors.items()}}]

    def _ranks(self, rows: Predictions) -> dict[str, tuple[np.ndarray, float]]:
        """Both ways the ranks of `ranked` of the clips with both streams, and its loss."""
        both = self._both(rows)
        if not both.any():
            raise UserError(f'There are no clips to evaluate: none has {" and ".join(self.streams)}.')
        first, second = (_unit(rows.scores[stream][both]) for stream in self.streams)
        one, other = self.streams
        return {f'{one}_to_{other}': ranked(first, second, self.temperature),
                f'{other}_to_{one}': ranked(second, first, self.temperature)}

    def _both(self, rows: Predictions) -> np.ndarray:
        return np.logical_and(*(rows.present[stream] for stream in self.streams))


def _nearest(alike: jax.Array, valid: jax.Array, excluded: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sums over the valid rows: the loss, and how many have their own the nearest."""
    alike = jnp.where(excluded, _EXCLUDED, alike)
    own = jnp.diagonal(alike)
    loss = jnp.where(valid, jax.nn.logsumexp(alike, axis=1) - own, 0).sum()
    return loss, (valid & (own >= alike.max(1))).sum().astype(jnp.float32)


def ranked(questions: np.ndarray, answers: np.ndarray, temperature: float) -> tuple[np.ndarray, float]:
    """At which rank each question finds the answer of the same row, and the InfoNCE loss.

    Of equally near answers the right one counts as the last, so that a model that says the same of all clips has the
    worst rank and not the best.

    Args:
      questions: float (N, D), of length 1.
      answers: likewise.
      temperature: of the loss.

    Returns:
      Ranks int (N,) from 1, and the mean loss in nats.

    Raises:
      UserError: for embeddings that are not finite.
    """
    metrics.check_finite(questions)
    metrics.check_finite(answers)
    ranks, losses = [], []
    for start in range(0, len(questions), _BLOCK):
        alike = questions[start:start + _BLOCK] @ answers.T
        places = np.arange(len(alike))
        own = alike[places, start + places]
        ranks.append((alike >= own[:, None]).sum(axis=1))
        powers = (alike - alike.max(axis=1, keepdims=True)) / temperature
        losses.append(np.log(np.exp(powers).sum(axis=1)) - powers[places, start + places])
    return np.concatenate(ranks), float(np.concatenate(losses).mean())


def _unit(x: np.ndarray) -> np.ndarray:
    """Of length 1, as the mean of several views is not; zeros stay."""
    x = x.astype(np.float64)
    return x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
