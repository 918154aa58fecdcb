"""Two streams of a clip find each other."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from vmmjax.data.labels import Labels, Nothing
from vmmjax.data.store import Store
from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import evaluate, metrics
from vmmjax.evaluation.evaluate import Predictions
from vmmjax.evaluation.tasks.base import Task

_BEST = (1, 5, 10)
_BLOCK = 1024  # Questions that are compared at a time; memory is this times the number of clips.


class Retrieval(Task):
    """Recall among the best 1, 5 and 10 and the median rank, both ways, over the clips that have both streams."""

    name = 'retrieval'
    plain = ('median_rank',)
    chance_of = 'a random order'

    def __init__(self, config: Any, store: Store) -> None:
        """See `Task`."""
        super().__init__(config, store)
        self.classes = [f'dimension {place}' for place in range(self.objective.dimensions)]
        for stream in self.objective.streams:
            if stream not in self.streams:
                raise UserError(f'config.task.streams names {stream!r}, which is no stream: '
                                f'{did_you_mean(stream, self.streams)}.')
        if not config.model.stream_head:
            raise UserError("config.task.name is retrieval, which needs an embedding of every stream; set "
                            "config.model.stream_head = dict(name='consensus').")

    def read_labels(self, config: Any, store: Store) -> Labels:
        """See `Task`."""
        return Nothing()

    def read(self, outputs: Any) -> Any:
        """The two embeddings."""
        return {stream: self.objective.embedding(outputs, stream) for stream in self.objective.streams}

    @property
    def predictions(self) -> Callable[..., Mapping[str, Predictions]]:
        """A stream's embedding does not depend on the others: there is nothing to withhold."""
        def whole(*arguments: Any, **options: Any) -> dict[str, Predictions]:
            return {'+'.join(self.objective.streams): evaluate.predict(*arguments, **options)}

        return whole

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
        for name, ranks in self._ranks(rows).items():
            for best in _BEST:
                values = np.full(len(both), np.nan)
                values[both] = ranks[0] <= best
                found[f'recall{best}_{name}'] = values, None
        return found

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What a random order gets."""
        clips = self.examples(rows)
        one, other = self.objective.streams
        found: dict[str, float] = {}
        for name in (f'{one}_to_{other}', f'{other}_to_{one}'):
            found |= {f'recall{best}_{name}': min(1.0, best / clips) for best in _BEST}
            found[f'median_rank_{name}'] = (clips + 1) / 2
        return found

    def _ranks(self, rows: Predictions) -> dict[str, tuple[np.ndarray, float]]:
        """Both ways the ranks of `ranked` of the clips with both streams, and its loss."""
        both = self._both(rows)
        if not both.any():
            raise UserError(f'There are no clips to evaluate: none has {" and ".join(self.objective.streams)}.')
        first, second = (_unit(rows.scores[stream][both]) for stream in self.objective.streams)
        one, other = self.objective.streams
        return {f'{one}_to_{other}': ranked(first, second, self.objective.temperature),
                f'{other}_to_{one}': ranked(second, first, self.objective.temperature)}

    def _both(self, rows: Predictions) -> np.ndarray:
        return np.logical_and(*(rows.present[stream] for stream in self.objective.streams))


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
