"""How a model of sound and pictures does as its sound gets noisier: its figures at each ratio of sound to noise.

The noise is that of `vmmjax.pipeline.transforms.audio`, added to waveforms. A clip gets the same noise on
every run, and at every ratio the same at another loudness.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ml_collections import ConfigDict

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import intervals, statistics
from vmmjax.evaluation.result import Result, write_text
from vmmjax.store.store import Store

if TYPE_CHECKING:
    from vmmjax.evaluation.predictions import Predictions

SUFFIX = '_noise'  # Behind the split in the names of files.
KINDS = ('white', 'babble')
CLEAN = 'clean'

# A changed config -> the predictions by subset, and the result as `Task.result` gives it.
Measure = Callable[[ConfigDict], tuple[Mapping[str, 'Predictions'], Result]]


def ratios(texts: Sequence[str]) -> list[float]:
    """Ratios of sound to noise in decibels from the texts of a flag.

    Raises:
      UserError: for what is no number.
    """
    try:
        return [float(text) for text in texts]
    except ValueError as error:
        raise UserError(f'--snr is {",".join(texts)}, no decibels ({error}); write --snr=10,0,-10.') from error


def levels(ratios: Sequence[float]) -> list[float | None]:
    """The levels that are measured: no noise, None, and then the ratios, the loudest sound first."""
    return [None, *sorted(set(ratios), reverse=True)]


def level_name(level: float | None) -> str:
    """A level as tables name it."""
    return CLEAN if level is None else f'{level:g} dB'


def condition(kind: str, level: float | None) -> str:
    """The name of the file of a condition; of a level None, no noise, `clean`."""
    return CLEAN if level is None else f'{kind}_{level:g}dB'


def heard(config: ConfigDict, store: Store, kinds: Sequence[str] = KINDS) -> list[str]:
    """The streams that noise can be added to: those that read waveforms.

    Raises:
      UserError: where there are none, or a kind of noise is not known.
    """
    check(kinds)
    found = waveforms(config.data.streams, store)
    if not found:
        raise UserError('Noise is added to waveforms, and none of the streams '
                        f'{", ".join(config.data.streams)} is one: train on the column waveform, of which '
                        "config.model.preprocess = dict(waveform='log_mel') makes spectrograms.")
    return found


def check(kinds: Sequence[str]) -> None:
    """Raises a UserError where a kind of noise is not known."""
    for kind in kinds:
        if kind not in KINDS:
            raise UserError(f'There is no noise {kind!r}: {did_you_mean(kind, KINDS)}.')


def waveforms(streams: Mapping[str, Any], store: Store) -> list[str]:
    """Those of `data.streams` that read waveforms."""
    return [name for name, stream in streams.items() if stream.modality in store.columns
            and store.columns[stream.modality].kind == 'array' and not store.columns[stream.modality].shape]


def noisy(config: ConfigDict, streams: Sequence[str], kind: str, ratio: float) -> ConfigDict:
    """The config with noise of one kind and ratio in some of its streams; all else is as it was.

    Args:
      config: of the run, which stays as it is.
      streams: which hear the noise.
      kind: `white`, `babble`, or empty for none.
      ratio: of sound to noise, decibels.
    """
    changed = config.copy_and_resolve_references()
    with changed.unlocked():
        for name in streams:
            changed.data.streams[name].update({'noise': kind, 'snr': (ratio, ratio)})
    return changed


def sweep(config: ConfigDict, store: Store, measure: Measure, *, kinds: Sequence[str], ratios: Sequence[float],
          folder: Path | None) -> dict[str, Any]:
    """Measures a model without noise and at each ratio of each kind, with every subset of its streams.

    Args:
      config: of the run.
      store: whose clips they are.
      measure: predicts and measures the split.
      kinds: `white`, `babble`.
      ratios: of sound to noise, decibels.
      folder: gets the predictions of each condition clip by clip, see `statistics.write_scores`; None on all processes
        but the first.

    Returns:
      Plain JSON values: `split`, `store`, `step`, `metric` (the task's first), `streams` (those that hear the noise),
      `trained` (with which noise), `ratios` (as they stand in the rows, the first None: no noise), `chance`, and
      `rows`, one a kind and subset: `kind`, `subset`, `examples`, and by ratio `values`, `intervals` (each value, low
      and high, the latter None where there is no interval; None for a metric that has none) and `methods` (or why
      there is none), and `metrics`, the values of every other metric; of classes also `gains`, all streams less this
      subset on the same clips with its interval, None for all.

    Raises:
      UserError: where no stream is a waveform, or a kind or ratio does not fit.
    """
    streams = heard(config, store, kinds)
    measured_at = levels(ratios)

    def one(kind: str, level: float | None) -> tuple[Result, dict[str, Any]]:
        predictions, result = measure(noisy(config, streams, kind, level or 0.0))
        if folder is None or result.task != 'classification':
            return result, {}
        path = folder / f'{condition(kind, level)}.npz'
        statistics.write_scores(path, predictions, store)
        return result, _gains(statistics.read_scores(path), list(predictions))

    clean = one('', None)
    result = clean[0]
    metric = next(iter(result.metrics))
    rows: list[dict[str, Any]] = []
    for kind in kinds:
        table: dict[str, dict[str, Any]] = {}
        for level in measured_at:
            measured, gains = clean if level is None else one(kind, level)
            for subset, figures in measured.subsets.items():
                row = table.setdefault(subset, {'kind': kind, 'subset': subset, 'examples': figures['examples'],
                                                'values': [], 'intervals': [], 'methods': [], 'metrics': {}})
                interval = figures['intervals'].get(metric)
                row['values'].append(figures[metric])
                for name in measured.metrics:
                    if name in figures and name != metric:
                        row['metrics'].setdefault(name, []).append(figures[name])
                row['intervals'].append(interval and [figures[metric], interval['low'], interval['high']])
                row['methods'].append(interval['label'] if interval else '')
                if subset in gains:
                    row.setdefault('gains', []).append(gains[subset])
        rows += table.values()
    trained = {name: _told(config.data.streams[name]) for name in streams}
    return {'split': result.split, 'store': store.name, 'step': result.step, 'metric': metric,
            'plain': metric in result.plain, 'streams': streams, 'trained': trained, 'ratios': measured_at,
            'chance': result.chance.get(metric), 'rows': rows}


def write(workdir: Path, found: Mapping[str, Any]) -> Path:
    """Writes what `sweep` found to `<workdir>/eval/<split>_noise.json`, and returns that path.

    Raises:
      UserError: where it cannot be written.
    """
    path = path_of(workdir, found['split'])
    write_text(path, json.dumps(found, indent=1, allow_nan=False) + '\n')
    return path


def path_of(workdir: Path, split: str) -> Path:
    """Where `write` puts what was found."""
    return workdir / 'eval' / f'{split}{SUFFIX}.json'


def value(workdir: Path, split: str, metric: str, name: str) -> float:
    """The figure of all streams in a condition, of what `write` wrote.

    Args:
      workdir: of the run.
      split: that was measured.
      metric: that is asked for.
      name: of the condition, see `condition`.

    Raises:
      UserError: for a damaged file, or what was not measured.
    """
    path = path_of(workdir, split)
    try:
        found = json.loads(path.read_text(encoding='utf-8'))
        # Of each kind the first row, which has all streams.
        whole = {row['kind']: {found['metric']: row['values'], **row.get('metrics', {})}
                 for row in reversed(found['rows'])}
        measured = {(condition(kind, level), of): values[place] for kind, metrics in whole.items()
                    for of, values in metrics.items() for place, level in enumerate(found['ratios'])}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise UserError(f'{path} cannot be read ({error}); measure the run again with `vmmjax evaluate '
                        f'--workdir={workdir} --snr=...`.') from error
    if (name, metric) not in measured:
        raise UserError(f'{path} has no {metric!r} in the condition {name!r}; it has '
                        f'{", ".join(" in ".join(reversed(each)) for each in sorted(measured))}.')
    number = measured[name, metric]
    return float('nan') if number is None else float(number)


def _gains(scores: statistics.Scores, subsets: Sequence[str]) -> dict[str, list[float | None] | None]:
    """What all streams gain over each subset on the same clips: mean, low and high."""
    everything = np.logical_and.reduce(list(scores.present.values()))
    whole = scores.right(subsets[0])
    gains: dict[str, list[float | None] | None] = dict.fromkeys(subsets)
    for subset in subsets[1:] if everything.any() else ():
        found = intervals.difference((whole - scores.right(subset))[everything], scores.group[everything])
        gains[subset] = [found.mean, *found.ends]
    return gains


def _told(stream: Mapping[str, Any]) -> str:
    if not stream.get('noise'):
        return 'trained without noise'
    low, high = stream.get('snr', (0.0, 0.0))
    return f'trained with {stream["noise"]} noise at {low:g} to {high:g} dB'
