"""Exact evaluation: every clip of a split once, with all streams and with every subset of them.

Exact means: padding rows (mask 0) and rows seen twice do not count, on any number of processes. Rows are
gathered with their ids, never averaged batch by batch. A clip's test views are averaged by its id.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from vmmjax.errors import UserError
from vmmjax.evaluation import view_averages

Batch = Mapping[str, Any]
# `step(params, model_state, batch)`: logits (B, C), or what else a task reads, of the global batch, jitted.
Step = Callable[[Any, Any, dict[str, Any]], Any]
# Moves a dict of host arrays, all of them rows of this process, to the devices.
Put = Callable[[Batch], dict[str, Any]]

_MOST_STREAMS_FOR_ALL_SUBSETS = 6


class Predictions(NamedTuple):
    """What a model says of the clips of a split, each clip once, in the order of their ids.

    Attributes:
      id: int32 (N,), catalog rows.
      target: int32 (N,); of several targets, or of none, a dict by name, of arrays (N, ...).
      scores: float32 (N, C), logits, those of the clip's views averaged; or what else a task reads, a dict of such
        arrays.
      present: for every stream bool (N,), whether the clip has it.
    """

    id: np.ndarray
    target: Any
    scores: Any
    present: dict[str, np.ndarray]


def truth(rows: Predictions, target: str, place: int) -> Any:
    """A target of one clip; None where targets were not asked for, as of new files."""
    values = rows.target.get(target) if isinstance(rows.target, Mapping) else rows.target
    return None if values is None else values[place]


def joined(parts: Sequence[Mapping[str, Predictions]]) -> dict[str, Predictions]:
    """Predictions of some clips behind those of others, by subset."""
    return {name: jax.tree.map(lambda *arrays: np.concatenate(arrays), *(part[name] for part in parts))
            for name in parts[0]}


def predict(step: Step, params: Any, model_state: Any, batches: Iterable[Batch], streams: Sequence[str], *,
            put: Put, target: str | Sequence[str], each_view: bool = False,
            average: view_averages.Average = view_averages.logits) -> Predictions:
    """Predicts every clip once, with the streams it has.

    Args:
      step: the jitted evaluation step.
      params: the model's parameters, on the devices.
      model_state: its other collections, on the devices.
      batches: this process's host batches, each with `id`, `mask`, `target/<target>` and `present/<stream>`, and
        `view` where clips are seen several times; every process must give the same number of them.
      streams: the model's streams.
      put: places a dict of row arrays on the devices.
      target: the target's name, or the names of several, or none of them.
      each_view: whether views stay as they are, one row each, and are not averaged.
      average: how they are averaged.

    Returns:
      The same on every process. Clips without any target are left out.

    Raises:
      UserError: where no batch holds a clip.
    """
    kept = {'+'.join(streams): tuple(streams)}
    return _predict(step, params, model_state, batches, streams, kept, put, target, each_view,
                    average)['+'.join(streams)]


def subsets(step: Step, params: Any, model_state: Any, batches: Iterable[Batch], streams: Sequence[str], *,
            put: Put, target: str | Sequence[str], each_view: bool = False,
            average: view_averages.Average = view_averages.logits,
            kept: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, Predictions]:
    """Predicts every clip with every subset of the streams, in one pass over the data.

    The streams left out are marked absent (`present/<stream>` False); shapes stay, so that one compilation of
    the step serves all subsets. Takes the arguments of `predict`, and the subsets by name as `kept`, such as
    `Task.subsets`; `subset_names` unless given.

    Returns:
      Predictions by subset ('rgb+audio', 'rgb', 'audio'), in the order of `kept`. All clips are in each of them;
      `Task.result` measures a subset on the clips that have all its streams.

    Raises:
      UserError: where no batch holds a clip.
    """
    return _predict(step, params, model_state, batches, streams, subset_names(streams) if kept is None else kept, put,
                    target, each_view, average)


def subset_names(streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The subsets that are measured, by name, the largest first, then in the order of the streams.

    Every non-empty subset of up to 6 streams; of more only all, all but one, and each alone.
    """
    sizes: Iterable[int] = range(len(streams), 0, -1)
    if len(streams) > _MOST_STREAMS_FOR_ALL_SUBSETS:
        sizes = (len(streams), len(streams) - 1, 1)
    return {'+'.join(chosen): chosen for size in sizes for chosen in itertools.combinations(streams, size)}


def _predict(step: Step, params: Any, model_state: Any, batches: Iterable[Batch], streams: Sequence[str],
             kept: Mapping[str, tuple[str, ...]], put: Put, target: str | Sequence[str], each_view: bool,
             average: view_averages.Average) -> dict[str, Predictions]:
    presence = [f'present/{stream}' for stream in streams]
    wanted = {name: f'target/{name}' for name in ([target] if isinstance(target, str) else target)}
    fetched: list[dict[str, Any]] = []
    running: dict[str, Any] | None = None
    for batch in batches:
        placed = put(batch)
        absent = put({key: np.zeros_like(batch[key]) for key in presence})
        # Ids and targets are fetched from the devices like the scores: where the mesh orders the processes'
        # rows in its own way, they still belong together.
        views = ['view'] if 'view' in batch else []
        started: dict[str, Any] = {key: placed[key] for key in ('id', 'mask', *wanted.values(), *presence, *views)}
        for name, chosen in kept.items():
            hidden = {key: absent[key] for key in presence if key.removeprefix('present/') not in chosen}
            started[f'scores/{name}'] = step(params, model_state, placed | hidden)
        # One batch late, so that the devices compute while the host reads the next batch.
        if running is not None:
            fetched.append(_fetch(running))
        running = started
    if running is not None:
        fetched.append(_fetch(running))
    if not fetched:
        raise UserError('There are no clips to evaluate: the split is empty.')

    rows = {key: jax.tree.map(lambda *parts: np.concatenate(parts), *(part[key] for part in fetched))
            for key in fetched[0]}
    # Clips without a label cannot be measured.
    labelled = [known(rows[key]) for key in wanted.values()]
    real = np.flatnonzero((rows['mask'] > 0) & (np.logical_or.reduce(labelled) if labelled else True))
    if not len(real):
        raise UserError(f'There are no clips to evaluate: none of the split has a value of {target!r}.')
    view = rows.get('view', np.zeros_like(rows['id']))
    seen, first = np.unique(np.stack([rows['id'], view])[:, real], axis=1, return_index=True)
    order = real[first]  # By id, then by view.
    ids, starts = (seen[0], np.arange(len(order))) if each_view else np.unique(seen[0], return_index=True)

    def mean(scores: np.ndarray) -> np.ndarray:
        with np.errstate(invalid='ignore'):  # A model that diverged is told where its scores are measured.
            return average(scores[order].astype(np.float64), starts).astype(np.float32)

    # A stream may lie outside of some views.
    present = {stream: np.logical_or.reduceat(rows[f'present/{stream}'][order].astype(bool), starts)
               for stream in streams}
    targets: Any = {name: rows[key][order[starts]] for name, key in wanted.items()}
    targets = targets[target] if isinstance(target, str) else targets
    return {name: Predictions(ids.astype(np.int32), targets, jax.tree.map(mean, rows[f'scores/{name}']), present)
            for name in kept}


def known(target: np.ndarray) -> np.ndarray:
    """Which clips have a target, bool (N,): an integer (N, ...) of at least 0, numbers (N, ...) that are not NaN."""
    values = target.reshape(len(target), -1)
    if np.issubdtype(target.dtype, np.integer):
        return np.any(values >= 0, axis=1)
    return ~np.isnan(values).any(axis=1)


def _fetch(rows: dict[str, Any]) -> dict[str, Any]:
    if jax.process_count() == 1:
        return jax.device_get(rows)
    return multihost_utils.process_allgather(rows, tiled=True)
