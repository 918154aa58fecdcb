"""What a run predicts of clips that are in no store: files, or arrays, read as those of its evaluation."""

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from tqdm import tqdm

from vmmjax.errors import UserError
from vmmjax.evaluation.prediction_lines import ClipPrediction
from vmmjax.evaluation.predictions import Batch, Predictions, joined
from vmmjax.pipeline import inputs, options
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import WindowTimes
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.pipeline.windows import SlidingWindows, WindowSpec
from vmmjax.prepare import new_clips
from vmmjax.prepare.new_clips import Group
from vmmjax.store.store import Store
from vmmjax.training import sharding

_PATIENCE = 2.0  # Seconds before a progress bar appears.
_TIMES = ['window', 'end']  # What `WindowTimes` gives.


class Run(Protocol):
    """An `Experiment`, as far as it predicts."""

    config: Any
    task: Any
    batch_sharding: Any

    @property
    def run_inputs(self) -> dict[str, Any]:
        """See `Experiment`."""

    @property
    def variables(self) -> dict[str, Any]:
        """See `Experiment`."""

    def predictions_of(self, batches: Iterable[Batch], target: str | Sequence[str], *, subsets: bool = True
                       ) -> dict[str, Predictions]:
        """See `Experiment`."""


class Predicted(NamedTuple):
    """What a run predicts of a group of clips.

    Attributes:
      group: the clips.
      predictions: by subset, all streams first, of the clips that can be read; `id` is a row of the group's store, and
        the targets are those of `WindowTimes`. Empty where no clip can be read.
      errors: why the others cannot, by place in the group.
    """

    group: Group
    predictions: dict[str, Predictions]
    errors: dict[int, UserError]


def each(run: Run, clips: Sequence[Any] | Mapping[str, Any], *, most: int, progress: bool = False
         ) -> Iterator[ClipPrediction]:
    """Yields a prediction of each clip, in order, see `Experiment.predict`."""
    for predicted in in_groups(run, clips, subsets=False, progress=progress):
        yield from read(run, predicted, most)


def in_groups(run: Run, clips: Sequence[Any] | Mapping[str, Any], *, subsets: bool, progress: bool
              ) -> Iterator[Predicted]:
    """Yields what a run predicts of one group of clips after another; the next one is read meanwhile.

    Args:
      run: with parameters.
      clips: see `Experiment.predict`.
      subsets: whether with every subset of the streams.
      progress: whether a progress bar is shown.

    Raises:
      UserError: for a run that has no parameters, or did not write down how its streams are read.
    """
    recorded = _recorded(run)
    views = len(options.read(ViewsConfig, run.config.data.views, 'data.views'))
    count = len(next(iter(clips.values()))) if isinstance(clips, Mapping) else len(clips)
    # A batch of the training's size would be padding for the most part, of one clip.
    size = max(sharding.row_shards(run.batch_sharding),
               min(run.config.batch_size, 1 << max(0, count * views - 1).bit_length()))
    with tqdm(total=count, unit='clip', delay=_PATIENCE, leave=False, disable=None if progress else True) as bar:
        for group in new_clips.in_groups(recorded, clips, max(1, size // views)):
            yield _predicted(run, group, size, subsets)
            bar.update(len(group.names))


def read(run: Run, predicted: Predicted, most: int) -> list[ClipPrediction]:
    """The clips of a group as a person reads them, in order.

    Args:
      run: see `in_groups`.
      predicted: of the group.
      most: how many classes are named.

    Raises:
      UserError: see `Task.reading`.
    """
    group, errors = predicted.group, {**predicted.group.empty, **predicted.errors}
    found = {place: ClipPrediction(group.names[place], error=str(error)) for place, error in errors.items()}
    if predicted.predictions:
        rows = next(iter(predicted.predictions.values()))
        starts = _starts(group.store)
        for each_read in _read(run.task, rows, starts[rows.id], most):
            row = int(each_read.clip)
            place = int(group.places[row])
            if place not in found:
                found[place] = replace(each_read, clip=group.names[place], start=float(starts[row]),
                                       seconds=float(group.store.durations[row]))
    return [found[place] for place in range(len(group.names))]


def windows(run: Run, clip: Any, cut: WindowSpec, *, most: int, batch_size: int = 8, progress: bool = False
            ) -> Iterator[ClipPrediction]:
    """Yields what a run predicts of each window of a file, in order; memory does not grow with the file's length.

    A window in which the file has nothing that the run reads has an empty `reading`.

    Args:
      run: with parameters; its test views are not used.
      clip: a path, or a clip of `sources.clip.of_file`.
      cut: how it is cut into windows.
      most: how many classes are named.
      batch_size: windows that the network sees at a time.
      progress: whether a progress bar is shown.

    Raises:
      UserError: where the file cannot be read, or has nothing that the run reads; see `in_groups` and `Task.reading`.
    """
    group, = new_clips.in_groups(_recorded(run), [clip], 1)
    for error in (*group.errors.values(), *group.empty.values()):
        raise error
    size = batch_size * sharding.row_shards(run.batch_sharding)
    sliding = SlidingWindows(group.store, _data(run), np.arange(1), cut=cut, batch_size=size)
    offset = float(_starts(group.store)[0])
    length = cut.window or float(sliding.ends[0])
    with tqdm(total=len(sliding.starts), desc=group.names[0], unit='window', delay=_PATIENCE, leave=False,
              disable=None if progress else True) as bar:
        for step, batch in enumerate(sliding.batches(rows=sharding.local_rows(run.batch_sharding, size))):
            real = batch['mask'] > 0
            numbers = np.where(real, step * size + batch['row'], -1).astype(np.int32)
            starts = sliding.starts[np.where(real, numbers, 0)]
            times = np.stack([starts, np.full(len(starts), length)], 1).astype(np.float32)
            # Each window is predicted as if it were a clip.
            ends = sliding.ends[np.where(real, numbers, 0)].astype(np.float32)
            found = run.predictions_of([{**batch, 'id': numbers, 'target/window': times, 'target/end': ends}], _TIMES,
                                       subsets=False)
            for each_read in _read(run.task, next(iter(found.values())), np.array(offset), most):
                start, end = (float(times[int(each_read.clip)]) for times in (sliding.starts, sliding.ends))
                yield replace(each_read, clip=group.names[0], start=offset + start, seconds=end - start)
                bar.update()


def whole(run: Run, parts: Sequence[ClipPrediction], cut: WindowSpec) -> ClipPrediction:
    """What all windows of a file say together, of a task whose answers are over time (`Task.each_view`).

    Args:
      run: see `windows`.
      parts: what `windows` yielded, at least one.
      cut: how the file was cut.
    """
    first, last = parts[0], parts[-1]
    times = np.array([[part.start, cut.window or part.seconds] for part in parts])
    rows = Predictions(
        np.zeros(len(parts), np.int32), {'window': times, 'end': np.full(len(parts), last.end)},
        jax.tree.map(lambda *scores: np.concatenate(scores), *(part.scores for part in parts)),
        {stream: np.array([part.present[stream] for part in parts]) for stream in first.present})
    found, = _read(run.task, rows, np.zeros(()), len(parts))
    return replace(found, clip=first.clip, start=first.start, seconds=last.end - first.start)


def _recorded(run: Run) -> dict[str, Any]:
    run.variables  # noqa: B018 - says so where there are none.
    return inputs.checked(run.run_inputs.get('data'), run.config.data.store)


def _data(run: Run) -> dict[str, Any]:
    """`config.data` without the noise, which is of training and its evaluation."""
    data: dict[str, Any] = run.config.data.to_dict()
    for stream in data['streams'].values():
        stream.pop('noise', None)
    return data


def _starts(store: Store) -> np.ndarray:
    """Where the clips begin in their files, float64 (rows,), seconds."""
    return store.values('start').astype(np.float64)


def _predicted(run: Run, group: Group, size: int, subsets: bool) -> Predicted:
    """Of the clips of a group; if one stops the batches, of each by itself, so that it costs only itself."""
    rows = sharding.local_rows(run.batch_sharding, size)

    def found(chosen: np.ndarray) -> dict[str, Predictions]:
        store = copy.copy(group.store)
        store.splits = {**store.splits, new_clips.SPLIT: chosen}
        pipeline = Pipeline(store, _data(run), split=new_clips.SPLIT, batch_size=size, train=False,
                            seed=run.config.seed, labels=WindowTimes(group.store))
        return run.predictions_of(pipeline.batches(rows=rows), _TIMES, subsets=subsets)

    everything, parts, errors = np.arange(len(group.store)), [], dict(group.errors)
    try:
        parts = [found(everything)] if len(everything) else []
    except UserError as error:
        if len(everything) == 1:
            errors[int(group.places[0])] = error
            everything = everything[:0]
        for row in everything.tolist():
            try:
                parts.append(found(np.array([row])))
            except UserError as own:
                errors[int(group.places[row])] = own
    return Predicted(group, joined(parts) if parts else {}, errors)


def _read(task: Any, rows: Predictions, offsets: np.ndarray, most: int) -> Iterator[ClipPrediction]:
    """Yields each clip of predictions, by ascending id, under that number; its times are the caller's.

    Args:
      task: the run's.
      rows: with all streams.
      offsets: float64 (N,) or (), seconds in the file where the clip of each row begins.
      most: how many classes are named.
    """
    times = rows.target['window'] + np.stack([offsets, 0 * offsets], -1)
    rows = rows._replace(target={'window': times, 'end': rows.target['end'] + offsets})
    ids, firsts = np.unique(rows.id, return_index=True)
    for clip, first, end in zip(ids.tolist(), firsts.tolist(), [*firsts[1:].tolist(), len(rows.id)], strict=True):
        present = {stream: bool(there[first:end].any()) for stream, there in rows.present.items()}
        scores = jax.tree.map(lambda values, first=first, end=end: (
            values[first:end] if task.each_view else values[first]), rows.scores)
        reading = task.reading(rows, first, most) if any(present.values()) else ()
        yield ClipPrediction(str(clip), present=present, reading=reading, scores=scores)
