"""What the runs of an ablation found: a line a row, from their predictions clip by clip."""

import dataclasses
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.statistics import Interval, Scores, interval, mcnemar, read_scores
from vmmjax.training.checkpoint import Checkpoints

PER_CLIP = 'accuracy'
"""The metric that is measured clip by clip where clips are of classes; any other is one value a run."""


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A run that was measured.

    Attributes:
      name: such as `fold0`.
      value: of the metric.
      scores: clip by clip; None of a metric that is one value a run.
      seconds: of training, its compilation included, validation and loading left out.
      parameters: that are trained or frozen.
    """

    name: str
    value: float
    scores: Scores | None
    seconds: float
    parameters: int


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
      name: of the row.
      runs: names of those that were measured.
      failed: name of a run -> what it said.
      missing: runs that are still to be made.
      clips: that were tested, each counted once.
      mean: of the metric, with its interval: over clips, drawn by group; of a metric that is one value a run over runs.
      deviation: standard deviation of the runs' values; NaN of a single one.
      chance: what always naming the most frequent class gets; NaN where that says nothing.
      against: name of the row that this one is compared with; empty for none.
      difference: to that row, on the same clips, or in the same runs; None where there are none.
      p: of McNemar's test; NaN where clips were tested several times, or are right in part.
      subsets: subset of the streams -> the metric with the other streams withheld.
      seconds: of training, mean over the runs.
      parameters: of the model.
    """

    name: str
    runs: tuple[str, ...] = ()
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: int = 0
    clips: int = 0
    mean: Interval | None = None
    deviation: float = float('nan')
    chance: float = float('nan')
    against: str = ''
    difference: Interval | None = None
    p: float = float('nan')
    subsets: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
    seconds: float = float('nan')
    parameters: int = 0

    @property
    def beats_chance(self) -> bool:
        """Whether the interval's lower end is above what the most frequent class gets."""
        return self.mean is not None and self.mean.low > self.chance


def is_finished(folder: Path, split: str) -> bool:
    """Whether a run was trained and measured: its figures are written last."""
    return (folder / 'eval' / f'{split}.json').is_file()


def measure(name: str, folder: Path, split: str, metric: str) -> Measured:
    """Reads a finished run.

    Args:
      name: of the run.
      folder: its workdir.
      split: that was measured.
      metric: a key of the `metrics` of its figures.

    Raises:
      UserError: for a damaged file, or where it has no such metric.
    """
    figures = json.loads((folder / 'eval' / f'{split}.json').read_text())
    if metric not in figures['metrics']:
        raise UserError(f'The run in {folder} has no metric {metric!r}: {did_you_mean(metric, figures["metrics"])}.')
    records = [json.loads(line) for line in (folder / 'log.jsonl').read_text().splitlines() if line.endswith('}')]
    batch = json.loads((folder / 'config.json').read_text())['batch_size']
    seconds, before = 0.0, 0
    for record in records:
        if 'clips_per_second' in record:
            seconds += (record['step'] - before) * batch / record['clips_per_second']
            before = record['step']
    checkpoints = Checkpoints(folder)
    shapes = checkpoints.shapes(figures['step'])
    parameters = sum(int(np.prod(shape)) for key, shape in shapes.items() if key.startswith('params/'))
    scores = read_scores(folder / 'eval' / f'{split}.npz') if metric == PER_CLIP else None
    scores = scores if scores and scores.are_of_classes else None
    return Measured(name, figures['metrics'][metric], scores, seconds, parameters)


def line(name: str, runs: Sequence[Measured], against: str, others: Sequence[Measured]) -> Line:
    """A row of the table; that runs failed or are missing, the caller knows.

    Args:
      name: of the row.
      runs: of it that were measured.
      against: name of the row that it is compared with; empty for none.
      others: that row's runs.
    """
    if not runs:
        return Line(name)
    values = np.array([run.value for run in runs])
    found = Line(name, tuple(run.name for run in runs), against=against,
                 deviation=float(values.std(ddof=1)) if len(values) > 1 else float('nan'),
                 seconds=float(np.mean([run.seconds for run in runs])), parameters=runs[0].parameters)
    if runs[0].scores is None:
        return _over_runs(found, runs, others)
    subsets = {subset: _by_clip(runs, subset) for subset in runs[0].scores.scores}
    whole = next(iter(subsets.values()))
    intervals = {subset: _interval(clips) for subset, clips in subsets.items() if clips}
    chance = _most_frequent(runs)
    difference, p = None, float('nan')
    if against and others and others[0].scores is not None:
        theirs = _by_clip(others, next(iter(others[0].scores.scores)))
        common = sorted(whole.keys() & theirs.keys())
        if common:
            ours, base = (np.array([side[clip].value for clip in common]) for side in (whole, theirs))
            difference = interval(ours - base, np.array([whole[clip].group for clip in common]))
            if _tested_once(runs) and _tested_once(others) and np.isin([ours, base], (0, 1)).all():
                p = mcnemar(ours > 0, base > 0)
    first, *rest = intervals
    return dataclasses.replace(found, clips=len(whole), mean=intervals[first], chance=chance, difference=difference,
                               p=p, subsets={subset: intervals[subset] for subset in rest})


@dataclasses.dataclass(frozen=True)
class _Clip:
    value: float
    group: str


def _by_clip(runs: Sequence[Measured], subset: str) -> dict[str, _Clip]:
    """How right each clip is, the mean of the runs that test it: one of cross-validation, all of several seeds."""
    values: dict[str, list[float]] = defaultdict(list)
    groups: dict[str, str] = {}
    for run in runs:
        assert run.scores is not None
        right = run.scores.right(subset)
        for clip, group, value in zip(run.scores.clip.tolist(), run.scores.group.tolist(), right.tolist(), strict=True):
            if np.isfinite(value):
                values[clip].append(value)
                groups[clip] = group
    return {clip: _Clip(float(np.mean(found)), groups[clip]) for clip, found in values.items()}


def _tested_once(runs: Sequence[Measured]) -> bool:
    clips = np.concatenate([run.scores.clip for run in runs if run.scores is not None])
    return len(clips) == len(np.unique(clips))


def _interval(clips: Mapping[str, _Clip]) -> Interval:
    return interval(np.array([clip.value for clip in clips.values()]),
                    np.array([clip.group for clip in clips.values()]))


def _most_frequent(runs: Sequence[Measured]) -> float:
    """The share of the most frequent class among all clips that were tested, the mean over the targets."""
    targets: dict[str, dict[str, int]] = defaultdict(dict)
    for run in runs:
        assert run.scores is not None
        for name, values in run.scores.target.items():
            known = values >= 0
            targets[name] |= dict(zip(run.scores.clip[known].tolist(), values[known].tolist(), strict=True))
    return float(np.mean([np.bincount(list(found.values())).max() / len(found) for found in targets.values()]))


def _over_runs(found: Line, runs: Sequence[Measured], others: Sequence[Measured]) -> Line:
    """The figures of a metric that is one value a run: Student's interval."""
    theirs = {run.name: run.value for run in others}
    pairs = [run.value - theirs[run.name] for run in runs if run.name in theirs] if found.against else []
    return dataclasses.replace(found, mean=_student([run.value for run in runs]),
                               difference=_student(pairs) if pairs else None)


def _student(values: Sequence[float], level: float = 0.95) -> Interval:
    mean = float(np.mean(values))
    if len(values) < 2:
        return Interval(mean, float('nan'), float('nan'))
    half = float(stats.sem(values) * stats.t.ppf((1 + level) / 2, len(values) - 1))
    return Interval(mean, mean - half, mean + half)
