"""Measures a run on labelled clips that are in no store, read as those of its evaluation."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from vmmjax.errors import UserError
from vmmjax.evaluation import new_clips
from vmmjax.evaluation.prediction_lines import ClipPrediction
from vmmjax.evaluation.predictions import Predictions, joined, known
from vmmjax.pipeline.targets import Targets, WindowBatch
from vmmjax.prepare.labels import clean
from vmmjax.prepare.memory_store import MemoryStore, catalog_alone
from vmmjax.prepare.sources.clip import Clip
from vmmjax.store.catalog import FIXED, of_rows


class Measured(NamedTuple):
    """What a run predicts of clips.

    Attributes:
      told: a prediction of each clip, in order.
      store: the catalog of those that could be read, without columns.
      predictions: of those that have a target, by subset of the streams, all of them first; empty where none has.
    """

    told: list[ClipPrediction]
    store: MemoryStore
    predictions: dict[str, Predictions]


def measure(run: new_clips.Run, clips: Sequence[Clip], *, name: str, most: int, progress: bool = False) -> Measured:
    """Predicts clips, labelled or not, with every subset of the streams.

    Args:
      run: with parameters.
      clips: with the same labels each. Where these include the run's target, clips in which it is not empty have one.
      name: of the clips, for messages.
      most: how many classes a prediction names.
      progress: whether a progress bar is shown.

    Returns:
      Predictions as evaluation makes them of a store that was prepared from the clips; `Task.result` measures them.

    Raises:
      UserError: for a label that the run does not know, where no clip can be read, and see `new_clips.in_groups`.
    """
    _targets(run, _unread(clips, name))  # An unknown label is noticed before time is spent.
    told: list[ClipPrediction] = []
    parts: list[Mapping[str, Predictions]] = []
    catalogs = []
    done = 0
    for predicted in new_clips.in_groups(run, clips, subsets=True, progress=progress):
        told += new_clips.read(run, predicted, most)
        parts += [{subset: rows._replace(id=rows.id + np.int32(done)) for subset, rows in predicted.predictions.items()}
                  ] if predicted.predictions else []
        catalogs.append(predicted.group.store.catalog)
        done += len(predicted.group.store)
    if not parts:
        raise UserError(f'None of the {len(clips)} clips of {name} can be read; the first: {told[0].error}')
    store = catalog_alone(name, catalogs)
    targets = _targets(run, store)
    return Measured(told, store, {} if targets is None else _with_targets(run.task, joined(parts), targets))


def _unread(clips: Sequence[Clip], name: str) -> MemoryStore:
    """A store of clips of which no file was read: they have their labels and no length."""
    columns = [*FIXED, *clips[0].labels]
    rows = [{'row': str(row), 'id': clip.id, 'split': clip.split, 'path': clip.name, 'start': '0.0', 'end': '0.0',
             'duration': '0.0', **{label: clean(text) for label, text in clip.labels.items()}}
            for row, clip in enumerate(clips)]
    return MemoryStore(name, of_rows(columns, [[row.get(column, '') for column in columns] for row in rows]), [])


def _targets(run: new_clips.Run, store: MemoryStore) -> Targets | None:
    """None where the clips lack the columns of the target."""
    try:
        return run.task.targets(store, run.config.data)
    except UserError:
        if all(map(store.has_values, run.task.columns)):
            raise
        return None


def _with_targets(task: Any, found: Mapping[str, Predictions], targets: Targets) -> dict[str, Predictions]:
    """The rows that have a target, with it; targets are those of the windows that were seen."""
    whole = next(iter(found.values()))
    starts, seconds = whole.target['window'].astype(np.float64).T
    real = np.ones(len(whole.id), bool)
    values = {key.removeprefix('target/'): array for key, array in targets.of(
        WindowBatch(whole.id, real, ~real, starts, seconds)).items()}
    wanted = task.measured(list(values))
    labelled = np.logical_or.reduce([known(array) for array in values.values()]) if values else real
    if not labelled.any():
        return {}
    target = values[wanted] if isinstance(wanted, str) else {name: values[name] for name in wanted}
    return {subset: jax.tree.map(lambda array: array[labelled], rows._replace(target=target))
            for subset, rows in found.items()}
