"""Embeddings that shall find each other: the loss between two sets of them (InfoNCE), and how often they do."""

import dataclasses
import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError
from vmmjax.evaluation import metrics
from vmmjax.evaluation.predictions import Predictions
from vmmjax.pipeline.targets import NoTargets, Targets
from vmmjax.tasks.base import Task

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_EXCLUDED = -1e9  # Not infinity, whose differences are NaN.
_BEST = (1, 5, 10)
_BLOCK = 1024  # Questions that are compared at a time; memory is this times the number of clips.


@dataclasses.dataclass(frozen=True, kw_only=True)
class Matching(Task):
    """Streams whose embeddings shall find each other.

    Measured are recall among the best 1, 5 and 10 and the median rank, for every pair of streams both ways, over the
    clips that have both. A derived task gives the embeddings, in `loss` and `read`.

    Attributes:
      streams: that are embedded.
      dimensions: of the embeddings.
      temperature: that of the loss that is measured.
    """

    streams: Sequence[str] = ()
    dimensions: int = 128
    temperature: float = 0.07

    plain: ClassVar[tuple[str, ...]] = ('median_rank',)
    chance_of: ClassVar[str] = 'a random order'
    learns_unlabelled: ClassVar[bool] = True
    compares_rows: ClassVar[bool] = True

    def targets(self, store: 'Store', data: Any) -> Targets:
        """None: a clip's streams are each other's."""
        return NoTargets()

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """`classes`, names of the dimensions of the embeddings."""
        return {'classes': [f'dimension {place}' for place in range(self.dimensions)]}

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs of streams that are measured."""
        return list(itertools.combinations(self.streams, 2))

    def subsets(self, streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """A stream's embedding does not depend on the others: there is nothing to withhold."""
        return {'+'.join(self.streams): tuple(streams)}

    def examples(self, rows: Predictions) -> int:
        """Clips with both streams of a pair."""
        return int(np.logical_or.reduce([self.both(rows, *pair) for pair in self.pairs]).sum())

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; the loss is InfoNCE among all these clips."""
        figures: dict[str, float] = {}
        losses = []
        for pair in self.pairs:
            for name, (ranks, loss) in self._ranks(rows, pair).items():
                figures |= {f'recall{best}_{name}': float((ranks <= best).mean()) for best in _BEST}
                figures[f'median_rank_{name}'] = float(np.median(ranks))
                losses.append(loss)
        return figures | {'loss': float(np.mean(losses))}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`: the recalls, each among these clips; another gallery is not in the interval."""
        found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for pair in self.pairs:
            both = self.both(rows, *pair)
            for name, (ranks, _) in self._ranks(rows, pair).items():
                for best in _BEST:
                    values = np.full(len(both), np.nan)
                    values[both] = ranks <= best
                    found[f'recall{best}_{name}'] = values, None
        return found

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What a random order gets."""
        found: dict[str, float] = {}
        for one, other in self.pairs:
            clips = int(self.both(rows, one, other).sum())
            for name in (f'{one}_to_{other}', f'{other}_to_{one}'):
                found |= {f'recall{best}_{name}': min(1.0, best / clips) for best in _BEST}
                found[f'median_rank_{name}'] = (clips + 1) / 2
        return found

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """How alike the streams of a clip are, the cosines of their embeddings; `embeddings` has these by stream.

        Other clips' embeddings find the clip, or are found by it.
        """
        vectors = {stream: _unit(rows.scores[stream][place][None])[0]
                   for stream in dict.fromkeys(itertools.chain(*self.pairs)) if rows.present[stream][place]}
        for vector in vectors.values():
            metrics.check_finite(vector[None])
        return [{'target': f'{one} and {other}', 'truth': '', 'probability': None,
                 'named': [] if cosine is None else [[f'cosine {cosine:.4f}', None]], 'cosine': cosine,
                 'embeddings': {stream: vector.tolist() for stream, vector in vectors.items()}}
                for one, other in self.pairs
                for cosine in [float(vectors[one] @ vectors[other]) if {one, other} <= {*vectors} else None]]

    def both(self, rows: Predictions, one: str, other: str) -> np.ndarray:
        """Which clips have both streams, bool (N,)."""
        return np.logical_and(rows.present[one], rows.present[other])

    def _ranks(self, rows: Predictions, pair: tuple[str, str]) -> dict[str, tuple[np.ndarray, float]]:
        """Both ways the ranks of `ranked` of the clips with both streams, and its loss."""
        one, other = pair
        both = self.both(rows, one, other)
        if not both.any():
            raise UserError(f'There are no clips to evaluate: none has {one} and {other}.')
        first, second = (_unit(rows.scores[stream][both]) for stream in pair)
        return {f'{one}_to_{other}': ranked(first, second, self.temperature),
                f'{other}_to_{one}': ranked(second, first, self.temperature)}


def info_nce(alike: jax.Array, valid: jax.Array, other: jax.Array) -> tuple[tuple[jax.Array, jax.Array],
                                                                           tuple[jax.Array, jax.Array]]:
    """Symmetric InfoNCE (Radford et al. 2021, figure 3): row i of one set belongs to row i of the other.

    `-log softmax_j(alike_ij)_i` over the right answer and the wrong ones, the mean of both directions.

    Args:
      alike: float (B, B), how alike question i and answer j are, divided by the temperature.
      valid: bool (B,), rows that ask and answer.
      other: bool (B, B), symmetric: which rows are wrong answers to each other.

    Returns:
      (sum, weight) of the loss, and of how many have their own the nearest; a weight is the number of valid rows.
    """
    excluded = ~valid | ~(other | jnp.eye(len(valid), dtype=bool))
    losses, hits = zip(*(_nearest(x, valid, excluded) for x in (alike, alike.T)), strict=True)
    count = valid.sum().astype(jnp.float32)
    return (sum(losses) / 2, count), (sum(hits) / 2, count)


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
