r"""Whether streams that were trained alone, combined by weights of a validation split, lose to the best of them.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,waveform --short_side=160
  vmmjax prepare --source=fights/manifest.csv --store=stores/fights --columns=rgb,audio --short_side=128
  vmmjax convert i3d_rgb_kinetics400 --output=runs/kinetics400/i3d_rgb
  python experiments/late_fusion.py --esc10=ESC-10/manifest.csv --workdir=runs/late_fusion \
      --page=experiments/results/late_fusion.md --scores=experiments/results/scores

Every stream is trained alone and stopped at its best step by the loss on the validation fold; the scores are combined
as `vmmjax evaluate --fuse --weights=fit` does, with the weights of that fold. Controls: equal weights, and one network
with all streams, trained at once (not in babble). The sets are the six words of a GRID sentence, the same with sound in
babble at 0 dB, ESC-10 with frames of noise beside its sound, and fights (`--sets`). What is there is not made again:
the same command goes on where it was stopped.

Differences are to the stream that is best on the validation fold, paired by seed and clip. A lower bound is one-sided
and simultaneous (95 %, Bonferroni) over the seven targets of `words` and `esc10`; a row is non-inferior at a margin
of m points where its bound is above -m.
"""

import argparse
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from ml_collections import ConfigDict
from noise_frames import NoiseFrames

from vmmjax import config as configs
from vmmjax.cli import rows
from vmmjax.convert.saved_run import SavedRun
from vmmjax.evaluation import intervals, noise_sweep, score_fusion, statistics
from vmmjax.evaluation.statistics import Scores
from vmmjax.experiment import Experiment
from vmmjax.prepare import sources
from vmmjax.prepare.audio_columns import Audio
from vmmjax.prepare.build import prepare
from vmmjax.reports import results_page
from vmmjax.text_table import markdown
from vmmjax.training.runtime import keep_compiled
from vmmjax.xla_flags import COMPILE_FASTER, add

CONFIGS = Path(__file__).parent / 'configs'
JOINT, BEST = 'one network', 'best stream on validation'
MARGINS = (3, 5)  # Points.
_SPLITS = ('validation', 'test')
_BABBLE = 0.0  # Decibels of sound to babble.


class Set(NamedTuple):
    """Clips, and how their streams are trained.

    Attributes:
      title: as the page names it.
      folds: that are tested.
      seeds: trainings of every network.
      config: streams, all for one network -> the config.
      streams: name in the tables -> stream of the config.
      claimed: whether its targets are among those with simultaneous bounds.
      heard: signal-to-noise ratio of sound in babble, in decibels; None without babble.
      joint: whether one network with all streams is trained, too.
    """

    title: str
    folds: tuple[int, ...]
    seeds: int
    config: Callable[[tuple[str, ...]], ConfigDict]
    streams: Mapping[str, str]
    claimed: bool = False
    heard: float | None = None
    joint: bool = True


def _chosen(config: ConfigDict, streams: Sequence[str], **changes: Any) -> ConfigDict:
    """The config with these streams alone, its best step kept by the loss on the validation fold."""
    values, who = config.to_dict(), 'late_fusion.py'
    for key, value in {'best.metric': 'validation/loss', 'best.mode': 'min', **changes}.items():
        rows.put(values, key, value, who)
    rows.keep_streams(values, streams, who)
    return configs.lock(ConfigDict(values))


def _words(stores: Path, noise: str, streams: tuple[str, ...]) -> ConfigDict:
    config = configs.load(CONFIGS / 'grid_noise.py').get_config(noise if 'waveform' in streams else '')
    return _chosen(config, streams, **{'data.store': str(stores / 'grid'), 'data.fold_validates': True,
                                       'evaluate_every': 60, 'checkpoint_every': 60})


def _esc10(stores: Path, streams: tuple[str, ...]) -> ConfigDict:
    config = configs.load(CONFIGS / 'own_clips.py').get_config('audio')
    with config.unlocked():
        config.data.streams.rgb = dict(modality='rgb', frames=8, size=32)
        config.model.encoders.rgb = dict(name='tdnn', pool=2)
        config.model.preprocess.rgb = 'centred'
        config.data.dropout = dict(rgb=0.3, audio=0.3)
    return _chosen(config, streams, **{'data.store': str(stores / 'esc10'), 'data.target': 'sound'})


def _fights(stores: Path, streams: tuple[str, ...]) -> ConfigDict:
    config = configs.load(CONFIGS / 'own_clips.py').get_config(','.join((*streams, '50')))
    return _chosen(config, streams, **{'data.store': str(stores / 'fights'), 'data.target': 'event'})


def _sets(stores: Path) -> dict[str, Set]:
    heard = {'frames': 'rgb', 'sound': 'waveform'}
    own = {'frames': 'rgb', 'sound': 'audio'}
    return {
        'words': Set('GRID, six words', (1, 2), 3, functools.partial(_words, stores, ''), heard, claimed=True),
        'babble': Set(f'GRID, six words, sound in babble at {_BABBLE:g} dB', (1, 2), 3,
                      functools.partial(_words, stores, 'babble'), heard, heard=_BABBLE, joint=False),
        'esc10': Set('ESC-10, frames of noise', (1, 2), 3, functools.partial(_esc10, stores), own, claimed=True),
        'fights': Set('Fights', (1, 2), 1, functools.partial(_fights, stores), own)}


def make_esc10(manifest: Path, store: Path) -> None:
    """Prepares ESC-10 with frames of noise, where it is not there."""
    prepare(sources.read(str(manifest), workers=2), store, (NoiseFrames(), Audio()), origin='ESC-10', processes=2)


def trained(folder: Path, config: ConfigDict, heard: float | None) -> dict[str, Scores]:
    """What a network says of the clips of each split at its best step; it is trained where it was not.

    Args:
      folder: of the run.
      config: of the run.
      heard: see `Set`.
    """
    files = {split: folder / 'eval' / f'{split}{"" if heard is None else f"_{heard:g}dB"}.npz' for split in _SPLITS}
    if not all(file.exists() for file in files.values()):
        Experiment(config).train(folder)
        saved = SavedRun.open(folder, best=True)
        tested = config if heard is None else noise_sweep.noisy(
            config, [name for name in config.data.streams if name == 'waveform'], 'babble', heard)
        run = Experiment(tested, run_inputs=saved.run_inputs)
        run.restore(saved.checkpoints, saved.step)
        for split, file in files.items():
            statistics.write_scores(file, run.predictions(split, subsets=False), run.store)
    return {split: statistics.read_scores(file) for split, file in files.items()}


class Measured(NamedTuple):
    """Which clips each way tells rightly.

    Attributes:
      right: target -> way -> float (S, N).
      groups: text (N,).
      weights: of the streams, fitted, (runs, streams).
    """

    right: dict[str, dict[str, np.ndarray]]
    groups: np.ndarray
    weights: np.ndarray


def measure(name: str, chosen: Set, workdir: Path) -> Measured:
    """Trains what is missing of a set, and combines the scores."""
    found: dict[str, dict[str, list[list[np.ndarray]]]] = {}
    groups, weights = [], []
    for fold in chosen.folds:
        for seed in range(chosen.seeds):
            def run(streams: tuple[str, ...], fold: int = fold, seed: int = seed) -> dict[str, Scores]:
                config = chosen.config(streams)
                with config.unlocked():
                    config.data.fold, config.seed = fold, seed
                # The same networks of frames serve with and without babble.
                part = 'words' if streams == ('rgb',) and name == 'babble' else name
                heard = chosen.heard if 'waveform' in streams else None
                return trained(workdir / part / _run(streams, fold, seed), configs.lock(config), heard)

            alone = {title: run((stream,)) for title, stream in chosen.streams.items()}
            tuned = [each['validation'] for each in alone.values()]
            tested = [each['test'] for each in alone.values()]
            fitted = score_fusion.fit(tuned)
            weights.append(fitted)
            best = max(alone.values(), key=lambda each: float(np.nanmean(_right(each['validation']))))
            ways = {**{title: each['test'] for title, each in alone.items()}, BEST: best['test'],
                    'fitted weights': score_fusion.fuse(tested, fitted, 'logits'),
                    'equal weights': score_fusion.fuse(tested, [1.0] * len(tested), 'logits')}
            if chosen.joint:
                ways[JOINT] = run(tuple(chosen.streams.values()))['test']
            for way, scores in ways.items():
                for target in scores.target:
                    turns = found.setdefault(target, {}).setdefault(way, [])
                    if seed == 0:
                        turns.append([])
                    turns[-1].append(_right(scores, target))
        groups.append(tested[0].group)
    return Measured({target: {way: np.concatenate([np.stack(turn) for turn in turns], 1) for way, turns in ways.items()}
                     for target, ways in found.items()}, np.concatenate(groups), np.array(weights))


def keep_scores(name: str, chosen: Set, workdir: Path, folder: Path) -> None:
    """Writes the test scores of each network and seed, all folds in one file, as `vmmjax evaluate` has them."""
    folder.mkdir(parents=True, exist_ok=True)
    networks = [(stream,) for stream in chosen.streams.values()] + [tuple(chosen.streams.values())] * chosen.joint
    for streams in networks:
        if chosen.heard is not None and 'waveform' not in streams:
            continue  # Those of the set without noise.
        file = 'test.npz' if chosen.heard is None else f'test_{chosen.heard:g}dB.npz'
        for seed in range(chosen.seeds):
            folds = [np.load(workdir / name / _run(streams, fold, seed) / 'eval' / file) for fold in chosen.folds]
            joined = {key: folds[0][key] if key == 'store' else np.concatenate([fold[key] for fold in folds])
                      for key in folds[0].files}
            np.savez_compressed(folder / f'{name}_{"+".join(streams)}_seed{seed}.npz', **joined)


def _run(streams: Sequence[str], fold: int, seed: int) -> str:
    return f'{"+".join(streams)}_fold{fold}_seed{seed}'


def _right(scores: Scores, target: str | None = None) -> np.ndarray:
    """Whether each clip is predicted correctly with all streams, float (N,); see `Scores.right`."""
    return scores.right(next(iter(scores.scores)), target)


def tables(sets: Mapping[str, Set], measured: Mapping[str, Measured]) -> Iterator[str]:
    """The means of each set, with intervals, and each claimed target, with simultaneous lower bounds."""
    lines = []
    for name, each in measured.items():
        means = {way: np.mean([ways[way] for ways in each.right.values()], 0)
                 for way in next(iter(each.right.values()))}
        groups = each.groups if any(each.groups) else None
        for way, right in means.items():
            gain = intervals.difference(right - means[BEST], groups)
            lines.append((sets[name].title, way, f'{100 * right.mean():.1f}', *(
                ('–', '–') if way in (*sets[name].streams, BEST) else
                (f'{100 * gain.mean:+.1f}', f'{100 * gain.low:+.1f} to {100 * gain.high:+.1f}'))))
    yield markdown(('set', 'row', 'accuracy, %', 'difference', '95 % interval'), lines, '<<>>>')
    claimed = [(name, target, ways) for name, each in measured.items() if sets[name].claimed
               for target, ways in each.right.items()]
    # Two-sided, so that the lower ends alone are at LEVEL for all targets together.
    level = 1 - 2 * (1 - intervals.LEVEL) / max(len(claimed), 1)
    lines, gains = [], {}
    for name, target, ways in claimed:
        for way in ('fitted weights', 'equal weights', JOINT):
            groups = measured[name].groups if any(measured[name].groups) else None
            gain = intervals.difference(ways[way] - ways[BEST], groups, level=level)
            gains.setdefault(way, []).append(100 * gain.mean)
            lines.append((target or sets[name].title, way, f'{100 * ways[way].mean():.1f}',
                         f'{100 * ways[BEST].mean():.1f}', f'{100 * gain.mean:+.1f}', f'{100 * gain.low:+.1f}',
                         *('yes' if 100 * gain.low > -margin else 'no' for margin in MARGINS)))
    if claimed:
        yield f'Each target; lower bounds are simultaneous over the {len(claimed)}:'
        yield markdown(('target', 'row', 'accuracy, %', BEST, 'difference', 'lower bound',
                        *(f'margin {margin}' for margin in MARGINS)), lines, '<<>>>>>>')
        yield f'In the mean of the {len(claimed)}: ' + ', '.join(
            f'{way} {np.mean(gain):+.1f}' for way, gain in gains.items()) + '.'
    yield 'Fitted weights, divided by their sum, in the median of the runs: ' + '; '.join(
        f'{sets[name].title}: ' + ', '.join(
            f'{stream} {weight:.2f}' for stream, weight in zip(
                sets[name].streams, np.median(each.weights / each.weights.sum(1, keepdims=True), 0), strict=True))
        for name, each in measured.items()) + '.'
    yield 'Tested clips, each once with each seed: ' + '; '.join(
        f'{sets[name].title} {len(each.groups)}, seeds: {sets[name].seeds}' for name, each in measured.items()) + '.'


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--stores', type=Path, default=Path('stores'), help='folder of the stores')
    parser.add_argument('--esc10', type=Path, help='manifest of ESC-10, whose store is made where it is not there')
    parser.add_argument('--workdir', type=Path, required=True, help='folder of the runs')
    parser.add_argument('--sets', default='words,babble,esc10,fights', help='which sets')
    parser.add_argument('--page', type=Path, help='page whose tables are written anew')
    parser.add_argument('--scores', type=Path, help='folder that gets the scores of the test clips, a file a network')
    options = parser.parse_args()
    add(COMPILE_FASTER)
    keep_compiled()
    sets = _sets(options.stores)
    names = options.sets.split(',')
    if unknown := [name for name in names if name not in sets]:
        parser.error(f'there is no set {unknown[0]}; there are {", ".join(sets)}')
    if 'esc10' in names and options.esc10 is not None:
        make_esc10(options.esc10, options.stores / 'esc10')
    measured = {name: measure(name, sets[name], options.workdir) for name in names}
    parts = list(tables(sets, measured))
    print('\n\n'.join(parts))
    if options.scores:
        for name in names:
            keep_scores(name, sets[name], options.workdir, options.scores)
    if options.page:
        results_page.insert(options.page, f'{results_page.machine()}.', *parts)


if __name__ == '__main__':
    main()
