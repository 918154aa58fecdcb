"""Which stream said what, over a split: exact Shapley values of every clip."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.evaluation.result import COUNT, NUMBER, PERCENT, TEXT, Result, table
from vmmjax.experiment import Experiment
from vmmjax.explain import streams
from vmmjax.serving.explain import check_target
from vmmjax.store.store import Store
from vmmjax.tasks import Classification, MultiLabel


@dataclasses.dataclass(frozen=True)
class SplitValues:
    """The streams' part in what a run says of the clips of a split.

    Attributes:
      clips: ids of the catalog (N,).
      named: the class of each clip whose logit is shared out, the one that the run names.
      present: stream -> bool (N,).
      coalitions: float64 (2^S, N), that logit with every subset of the streams, in the order of `streams.coalitions`.
      result: the metrics of every subset.
      trained_with_absence: whether the run dropped streams in training; else subsets are what it never saw.
    """

    clips: np.ndarray
    named: np.ndarray
    present: Mapping[str, np.ndarray]
    coalitions: np.ndarray
    result: Result
    trained_with_absence: bool

    @property
    def values(self) -> dict[str, np.ndarray]:
        """The Shapley value of every stream, float64 (N,)."""
        return dict(zip(self.present, streams.shapley(self.coalitions), strict=True))

    @property
    def shares(self) -> dict[str, float]:
        """Of every stream |value| over that of all streams, in the mean over clips (MM-SHAP, Parcalabescu and Frank
        2023); clips whose values are all 0 are left out.
        """
        sizes = np.abs(np.stack(list(self.values.values())))
        total = sizes.sum(0)
        means = (sizes[:, total > 0] / total[total > 0]).mean(1) if (total > 0).any() else np.zeros(len(sizes))
        return dict(zip(self.present, means.tolist(), strict=True))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the clips."""
        return {'split': self.result.split, 'clips': len(self.clips),
                'streams': {name: {'mean': float(values.mean()), 'mean_size': float(np.abs(values).mean()),
                                   'share': self.shares[name], 'present': int(self.present[name].sum())}
                            for name, values in self.values.items()},
                'subsets': self.result.subsets, 'chance': self.result.chance,
                'subsets_are_heuristic': not self.trained_with_absence}

    def arrays(self) -> dict[str, np.ndarray]:
        """`clip`, `class`, and of every stream its values and where it is present."""
        return {'clip': self.clips, 'class': self.named,
                **{f'value/{name}': values for name, values in self.values.items()},
                **{f'present/{name}': there for name, there in self.present.items()}}


def explain_split(run: Experiment, split: str, target: str = '') -> SplitValues:
    """Measures a split of the run's store with every subset of its streams.

    Args:
      run: with its parameters.
      split: its name.
      target: of several targets, the one that is meant; empty for the first.

    Raises:
      UserError: for more than 6 streams, a task without logits of classes, or where the store or split is not there.
    """
    check_target(run, target)
    streams.coalitions(list(run.config.data.streams))
    found = run.predictions(split)
    return of_predictions(run, found, run.result(found, split), run.store, target)


def of_predictions(run: Experiment, found: Mapping[str, Predictions], result: Result, store: Store, target: str = ''
                   ) -> SplitValues:
    """What was measured already with every subset of the streams, shared out among them.

    Args:
      run: with its parameters.
      found: by subset, all streams first.
      result: what was measured of it.
      store: the clips'.
      target: see `explain_split`.

    Raises:
      UserError: see `explain_split`.
    """
    chosen, names = check_target(run, target)
    order = streams.coalitions(list(run.config.data.streams))
    by_streams = {frozenset(name.split('+')): rows for name, rows in found.items()}
    scores = {key: rows.scores if chosen is None else rows.scores[chosen] for key, rows in by_streams.items()}
    whole = scores[frozenset(order[-1])]
    if not isinstance(whole, np.ndarray) or whole.ndim != 2:
        raise UserError(f'The scores of the task {run.task.name} are not one logit a class for each clip; explain a '
                        f'file in place of a split.')
    places = whole.argmax(1)
    # Of nothing a model gives logits of 0, whose mean over views is not 0 where probabilities are averaged.
    nothing = run.task.averaging[run.average](np.zeros((1, whole.shape[1])), np.zeros(1, np.int64))
    coalitions = np.stack([np.take_along_axis(
        scores[frozenset(subset)].astype(np.float64) if subset else np.repeat(nothing, len(whole), 0),
        places[:, None], axis=1)[:, 0] for subset in order])
    rows = next(iter(found.values()))
    return SplitValues(
        np.array([store.clip(int(row)) for row in rows.id]), np.array(names)[places],
        {name: rows.present[name] for name in run.config.data.streams}, coalitions, result,
        any(rate > 0 for rate in run.config.data.dropout.values()))


def added(run: Experiment, found: Mapping[str, Predictions], result: Result, store: Store) -> Result:
    """The result with which stream said what: a table for each target, and the values of its worst clips.

    It stays as it is where there is one stream or more than 6, and of a task that names no classes.

    Args:
      run: with its parameters.
      found: see `of_predictions`.
      result: what was measured of it.
      store: the clips'.
    """
    names = list(run.config.data.streams)
    if not 1 < len(names) <= streams.MOST_STREAMS or not isinstance(run.task, Classification | MultiLabel):
        return result
    targets = list(run.task.classes) if isinstance(run.task.classes, Mapping) else ['']
    each = {target: of_predictions(run, found, result, store, target) for target in targets}
    worst = [dict(clip) for clip in result.worst]
    for target, values in each.items():
        places = {clip: place for place, clip in enumerate(values.clips.tolist())}
        for clip in worst:
            place = places[clip['clip']]
            of_clip = {name: float(of[place]) for name, of in values.values.items() if values.present[name][place]}
            clip.setdefault('streams', []).append({
                'target': target, 'class': str(values.named[place]), 'values': of_clip})
    return dataclasses.replace(result, worst=worst, tables=[
        *result.tables, *(_table(target, values) for target, values in each.items())])


def _table(target: str, values: SplitValues) -> dict[str, Any]:
    """Of a page, see `evaluation.result.table`."""
    heuristic = '' if values.trained_with_absence else (
        ' A heuristic: this run never trained with absent streams (data.dropout), so that subsets are something it '
        'never saw.')
    told = values.to_json()['streams']
    return table(
        f'Which stream said what{f", {target}" if target else ""}',
        'Shapley values of the streams in the logit of the class that is named, exact, from all of their subsets with '
        'the others truly absent; how right each subset is stands above. The share is that of the values\' sizes in '
        f'the mean over clips.{heuristic}',
        {'stream': TEXT, 'clips that have it': COUNT, 'mean value': NUMBER, 'mean size': NUMBER, 'share': PERCENT},
        [[name, row['present'], row['mean'], row['mean_size'], row['share']] for name, row in told.items()])
