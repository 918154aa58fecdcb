"""What the runs of an ablation found: a line a row, from their predictions clip by clip."""

import dataclasses
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import cost, intervals, noise_sweep, training_log
from vmmjax.evaluation.intervals import Interval
from vmmjax.evaluation.result import evaluations, read_split
from vmmjax.evaluation.statistics import Scores, mcnemar, read_scores

PER_CLIP = 'accuracy'
"""The metric that is measured clip by clip where clips are of classes, as `accuracy_<target>` is of one of several
targets; any other is one value a run."""
_SEED = re.compile(r'seed\d+')  # In the names of runs, as `fold0_seed1`.


@dataclasses.dataclass(frozen=True, eq=False)
class Measured:
    """A run that was measured.

    Attributes:
      name: such as `fold0`.
      value: of the metric.
      scores: clip by clip; None of a metric that is one value a run.
      target: that the metric is of; None for all.
      seconds: of training, its compilation included, validation and loading left out.
      parameters: that are trained or frozen.
      macs: of a forward pass of a test view; NaN where it was not recorded.
      series: of the log, see `training_log.read_log`.
      evaluations: of the split, by `vmmjax evaluate`.
    """

    name: str
    value: float
    scores: Scores | None
    target: str | None
    seconds: float
    parameters: int
    macs: float = float('nan')
    series: cost.Series = dataclasses.field(default_factory=dict)
    evaluations: int = 1


@dataclasses.dataclass(frozen=True)
class Line:
    """A row of the table.

    Attributes:
      name: of the row.
      runs: names of those that were measured.
      values: of the metric, of each of them.
      failed: name of a run -> what it said.
      missing: runs that are still to be made.
      clips: that were tested, each counted once.
      mean: of the metric, with its confidence interval: over clips, their groups and seeds, see `intervals.proportion`;
        of a metric that is one value per run over runs.
      deviation: standard deviation of the runs' values; NaN of a single one.
      chance: what always naming the most frequent class gets; NaN where that says nothing.
      against: name of the row that this one is compared with; empty for none.
      difference: to that row, on the same clips, or in the same runs; None where there are none.
      p: of McNemar's test; NaN where clips were tested several times, or are right in part.
      streams: that the metric is of, such as `audio+rgb`.
      subsets: subset of the streams -> the metric with the other streams withheld.
      alone: such a subset -> name of a row of these streams alone, and the difference to it on the same clips.
      seconds: of training, mean over the runs.
      parameters: of the model.
      macs: of a forward pass of a test view; NaN where it was not recorded.
      evaluations: of the split by all of the runs.
    """

    name: str
    runs: tuple[str, ...] = ()
    values: tuple[float, ...] = ()
    failed: Mapping[str, str] = dataclasses.field(default_factory=dict)
    missing: int = 0
    clips: int = 0
    mean: Interval | None = None
    deviation: float = float('nan')
    chance: float = float('nan')
    against: str = ''
    difference: Interval | None = None
    p: float = float('nan')
    streams: str = ''
    subsets: Mapping[str, Interval] = dataclasses.field(default_factory=dict)
    alone: Mapping[str, tuple[str, Interval]] = dataclasses.field(default_factory=dict)
    seconds: float = float('nan')
    parameters: int = 0
    macs: float = float('nan')
    evaluations: int = 0

    @property
    def beats_chance(self) -> bool:
        """Whether the interval's lower end is above what the most frequent class gets."""
        return self.mean is not None and self.mean.low > self.chance


def is_finished(folder: Path, split: str) -> bool:
    """Whether a run was trained and measured: its figures are written last."""
    return (folder / 'eval' / f'{split}.json').is_file()


def is_per_clip(metric: str) -> bool:
    """Whether a metric can be measured clip by clip, see `PER_CLIP`."""
    return metric == PER_CLIP or metric.startswith(f'{PER_CLIP}_')


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
    figures = read_split(folder, split)
    if metric not in figures.metrics:
        raise UserError(f'The run in {folder} has no metric {metric!r}: {did_you_mean(metric, figures.metrics)}.')
    series, _ = training_log.read_log(folder / 'log.jsonl')
    seconds = cost.training_seconds(series, json.loads((folder / 'config.json').read_text())['batch_size'])
    macs = figures.cost.get('macs')  # Runs of an older version have none.
    from vmmjax.training.checkpoint import Checkpoints  # Brings Orbax along, which flags need not.

    checkpoints = Checkpoints(folder)
    shapes = checkpoints.shapes(figures.step)
    parameters = sum(int(np.prod(shape)) for key, shape in shapes.items() if key.startswith('params/'))
    scores = read_scores(folder / 'eval' / f'{split}.npz') if is_per_clip(metric) else None
    scores = scores if scores and scores.are_of_classes else None
    target = (metric.removeprefix(PER_CLIP).removeprefix('_') or None) if scores else None
    return Measured(name, figures.metrics[metric], scores, target, seconds, parameters,
                    float('nan') if macs is None else macs, series, evaluations(folder, split))


def in_noise(run: Measured, folder: Path, split: str, metric: str, condition: str) -> Measured:
    """A run as it was measured in noise; one that hears none as it is.

    Args:
      run: by `measure`.
      folder: its workdir.
      split: that was measured.
      metric: that it was measured by.
      condition: of noise, see `noise_sweep.condition`.

    Raises:
      UserError: for a damaged file, or a metric that is not measured in noise.
    """
    if not noise_sweep.path_of(folder, split).is_file():
        return run
    if run.scores is None:
        return dataclasses.replace(run, value=noise_sweep.value(folder, split, metric, condition))
    scores = read_scores(folder / 'eval' / f'{split}{noise_sweep.SUFFIX}' / f'{condition}.npz')
    value = float(np.nanmean(scores.right(next(iter(scores.scores)), run.target)))
    return dataclasses.replace(run, value=value, scores=scores)


def line(name: str, runs: Sequence[Measured], against: str, others: Mapping[str, Sequence[Measured]]) -> Line:
    """A row of the table; that runs failed or are missing, the caller knows.

    Args:
      name: of the row.
      runs: of it that were measured.
      against: name of the row that it is compared with; empty for none.
      others: runs of the rows that it is compared with, see `related`.
    """
    base = others.get(against, ())
    if not runs:
        return Line(name)
    values = np.array([run.value for run in runs])
    found = Line(name, tuple(run.name for run in runs), tuple(values.tolist()), against=against,
                 deviation=float(values.std(ddof=1)) if len(values) > 1 else float('nan'),
                 seconds=float(np.mean([run.seconds for run in runs])), parameters=runs[0].parameters,
                 macs=runs[0].macs, evaluations=sum(run.evaluations for run in runs))
    if runs[0].scores is None:
        return _over_runs(found, runs, base)
    subsets = {subset: _by_clip(runs, subset) for subset in runs[0].scores.scores}
    whole = next(iter(subsets.values()))
    means = {subset: _mean(clips) for subset, clips in subsets.items() if clips}
    chance = _most_frequent(runs)
    difference, p = None, float('nan')
    if base and base[0].scores is not None:
        difference, p = _compared(whole, _by_clip(base, _all(base)), once=_tested_once(runs) and _tested_once(base))
    first, *rest = means
    alone: dict[str, tuple[str, Interval]] = {}
    for other, theirs in others.items():
        subset = _all(theirs)
        if subset in rest and subset not in alone:
            gain, _ = _compared(subsets[subset], _by_clip(theirs, subset), once=False)
            alone |= {subset: (other, gain)} if gain else {}
    return dataclasses.replace(found, clips=len(whole), mean=means[first], chance=chance, difference=difference,
                               p=p, streams=first, subsets={subset: means[subset] for subset in rest}, alone=alone)


def related(runs: Sequence[Measured], against: str, measured: Mapping[str, Sequence[Measured]],
            begin: Sequence[str] = ()) -> dict[str, Sequence[Measured]]:
    """The rows that one is compared with: that named `against`, those it begins with, others of its streams alone."""
    names = [name for name, found in measured.items() if name != against and found and runs and runs[0].scores
             and _all(found) in list(runs[0].scores.scores)[1:]]
    return {name: measured[name] for name in (against, *begin, *names) if measured.get(name)}


def _all(runs: Sequence[Measured]) -> str:
    """The subset of all streams of scored runs; empty of others."""
    return next(iter(runs[0].scores.scores)) if runs[0].scores else ''


def _compared(ours: Mapping[str, '_Clip'], theirs: Mapping[str, '_Clip'], once: bool
              ) -> tuple[Interval | None, float]:
    """The paired difference on the clips that both have, and McNemar's p where each was tested once, right or wrong.

    Where a clip has another answer there, other things were asked, and nothing is compared.
    """
    common = sorted(ours.keys() & theirs.keys())
    if not common or any(ours[clip].answer != theirs[clip].answer for clip in common):
        return None, float('nan')
    # By seed where both rows have the same ones, else by the means over theirs.
    seeds = _seeds([side[clip] for side in (ours, theirs) for clip in common])
    one, other = (np.array([side[clip].by_seed(seeds) for clip in common]).T for side in (ours, theirs))
    difference = intervals.difference(one - other, np.array([ours[clip].group for clip in common]))
    of_right = once and np.isin([one, other], (0, 1)).all()
    return difference, mcnemar(one[0] > 0, other[0] > 0) if of_right else float('nan')


@dataclasses.dataclass(frozen=True)
class _Clip:
    values: Mapping[str, float]  # By seed.
    group: str
    answer: tuple[int, ...]

    def by_seed(self, seeds: Sequence[str]) -> list[float]:
        """The values with these seeds; without any the mean."""
        return [self.values[seed] for seed in seeds] or [float(np.mean(list(self.values.values())))]


def _by_clip(runs: Sequence[Measured], subset: str) -> dict[str, _Clip]:
    """How correct each clip is, in each run that tests it: one of cross-validation, all of several seeds."""
    values: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    facts: dict[str, tuple[str, tuple[int, ...]]] = {}
    for run in runs:
        assert run.scores is not None
        seed = ''.join(_SEED.findall(run.name))
        right = run.scores.right(subset, run.target)
        names = run.scores.target if run.target is None else (run.target,)
        answers = zip(*(run.scores.target[name].tolist() for name in names), strict=True)
        for clip, group, value, answer in zip(run.scores.clip.tolist(), run.scores.group.tolist(), right.tolist(),
                                              answers, strict=True):
            if np.isfinite(value):
                values[clip][seed].append(value)
                facts[clip] = group, answer
    return {clip: _Clip({seed: float(np.mean(each)) for seed, each in found.items()}, *facts[clip])
            for clip, found in values.items()}


def _tested_once(runs: Sequence[Measured]) -> bool:
    clips = np.concatenate([run.scores.clip for run in runs if run.scores is not None])
    return len(clips) == len(np.unique(clips))


def _seeds(clips: Sequence[_Clip]) -> list[str]:
    """The seeds, if all clips were tested with the same ones."""
    return list(clips[0].values) if len({frozenset(clip.values) for clip in clips}) == 1 else []


def _mean(clips: Mapping[str, _Clip]) -> Interval:
    seeds = _seeds(list(clips.values()))
    return intervals.proportion(np.array([clip.by_seed(seeds) for clip in clips.values()]).T,
                                np.array([clip.group for clip in clips.values()]))


def _most_frequent(runs: Sequence[Measured]) -> float:
    """The share of the most frequent class among all clips that were tested, the mean over the targets."""
    targets: dict[str, dict[str, int]] = defaultdict(dict)
    for run in runs:
        assert run.scores is not None
        names = run.scores.target if run.target is None else (run.target,)
        for name in names:
            values = run.scores.target[name]
            known = values >= 0
            targets[name] |= dict(zip(run.scores.clip[known].tolist(), values[known].tolist(), strict=True))
    return float(np.mean([np.bincount(list(found.values())).max() / len(found) for found in targets.values()]))


def _over_runs(found: Line, runs: Sequence[Measured], others: Sequence[Measured]) -> Line:
    """The figures of a metric that is one value a run: Student's interval."""
    theirs = {run.name: run.value for run in others}
    pairs = [run.value - theirs[run.name] for run in runs if run.name in theirs] if found.against else []
    return dataclasses.replace(found, mean=intervals.mean(np.array([run.value for run in runs])),
                               difference=intervals.mean(np.array(pairs)) if pairs else None)
