"""Where the words of some clips of a split come from, to be looked at: what a decoder attends to, or CTC hears."""

import copy
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import numpy as np

from vmmjax.evaluation import predictions
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import NoTargets
from vmmjax.store.store import Store
from vmmjax.training import sharding
from vmmjax.training.step import make_eval_step

_MOST = 20_000  # Numbers of a clip; a longer one is left out.


class Run(Protocol):
    """An `Experiment`, as far as it is asked here."""

    config: Any
    task: Any
    mesh: Any
    batch_sharding: Any
    state: Any

    @property
    def store(self) -> Store:
        """See `Experiment`."""

    @property
    def rows(self) -> slice:
        """See `Experiment`."""

    def apply(self, variables: Any, batch: Any, **options: Any) -> Any:
        """See `Experiment`."""


def attended(run: Run, clips: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What each token of the best text of clips rests on.

    Args:
      run: with parameters; its task has `attend`.
      clips: ids in the catalog of its store.

    Returns:
      By clip, as plain JSON values: `tokens`, L texts, and `weights`, L lists of N numbers from 0 to 1, see
      `Writes.attend`; without clips that are too long, or of which nothing is told.
    """
    ids = run.store.values('id')
    wanted = np.flatnonzero(np.isin(ids, list(clips)))
    if not len(wanted):
        return {}
    store = copy.copy(run.store)
    store.splits = {**store.splits, 'shown': wanted}
    config = run.config
    pipeline = Pipeline(store, config.data, split='shown', batch_size=config.batch_size, train=False, seed=config.seed,
                        labels=NoTargets())
    step = make_eval_step(run.apply, run.mesh, seed=config.seed, compute=run.task.attend)
    rows = predictions.predict(step, run.state.eval_params, run.state.model_state, pipeline.batches(rows=run.rows),
                               list(config.data.streams), target=[],
                               put=lambda batch: sharding.put(batch, run.batch_sharding))
    scores: dict[str, np.ndarray] = jax.tree.map(np.asarray, rows.scores)
    found = {}
    for place, row in enumerate(rows.id.tolist()):
        tokens = run.task.tokens(scores['ids'][place].astype(np.int64).tolist())
        weights = scores['weights'][place, :len(tokens)].astype(np.float64)
        if tokens and weights.any() and weights.size <= _MOST:
            found[str(ids[row])] = {'tokens': tokens, 'weights': np.round(weights, 3).tolist()}
    return found
