"""Captions, questions and summaries of clips whose truth is known: everything that `results/told_scenes.md` has.

  python experiments/told_scenes.py runs/told_scenes

Prepares `synthetic:told_scenes` and `synthetic:joined_scenes` below the folder, trains the three runs of
`configs/told_scenes.py`, and prints a table of each on the test split. What is there already is kept, so that a killed
command goes on; `--only=captions` stops after the first. Beside every figure stand its controls: a stream withheld, the
question alone, both clips of a pair of which one is the other played backwards, summaries at random, at equal
distances, by motion, by cuts and by loudness.
"""

import argparse
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vmmjax.evaluation import intervals
from vmmjax.evaluation.predictions import Predictions
from vmmjax.experiment import Experiment
from vmmjax.prepare.sources import told_scenes

CONFIG = Path(__file__).parent / 'configs' / 'told_scenes.py'
RUNS = ('captions', 'questions', 'summaries')
# Of each source, the clips of its splits.
SIZES = {'told_scenes': 'train=1600,validation=160,test=800', 'joined_scenes': 'train=160,validation=20,test=60'}


def train(folder: Path, name: str, seed: int) -> Experiment:
    """One of RUNS, trained to its last step and loaded."""
    source = 'joined_scenes' if name == 'summaries' else 'told_scenes'
    if not (folder / source / 'store.json').exists():
        _vmmjax('prepare', f'--source=synthetic:{source}', f'--store={folder / source}', f'--sizes={SIZES[source]}',
                '--columns=rgb,audio', '--short_side=56', '--fps=12.5')
    run = folder / f'{name}_{seed}'
    begin = [] if name == 'captions' else [f'--config.init_from.workdir={folder / f"captions_{seed}"}']
    _vmmjax('train', f'--config={CONFIG}:{"" if name == "captions" else name}', f'--workdir={run}',
            f'--config.data.store={folder / source}', f'--config.seed={seed}', *begin)
    return Experiment.load(run)


def captions(run: Experiment) -> list[list[str]]:
    """Of every attribute how often captions say it rightly, by subset of the streams."""
    lines = []
    for subset, rows in _predictions(run).items():
        said = [told_scenes.said(text) for text in run.task.said(rows)]
        for name, stream in told_scenes.ATTRIBUTES.items():
            true = run.store.values(name)[rows.id]
            right = np.array([each[name] for each in said]) == true
            chance = max(np.unique(true, return_counts=True)[1]) / len(true)
            lines.append([subset, f'{name} ({stream})', *_share(right), f'{100 * chance:.1f} %', str(len(right))])
    return [['streams', 'attribute', 'right', '95 % interval', 'commonest', 'clips'], *lines]


def questions(run: Experiment) -> list[list[str]]:
    """The accuracy of every kind of question, by subset of the streams, and of both clips of a pair."""
    lines = []
    for subset, rows in _predictions(run).items():
        right = np.array([text == true for text, (true,) in zip(run.task.said(rows), run.task.references(rows),
                                                                strict=True)])
        kinds, pairs = run.store.values('kind')[rows.id], run.store.values('pair')[rows.id]
        for kind in told_scenes.KINDS:
            own = kinds == kind
            _, counts = np.unique(run.store.values('answer')[rows.id][own], return_counts=True)
            both = np.bincount(np.unique(pairs[own], return_inverse=True)[1], right[own]) == 2
            lines.append([subset, kind, *_share(right[own]), f'{100 * counts.max() / own.sum():.1f} %',
                          *_share(both), str(own.sum())])
    return [['streams', 'question', 'right', '95 % interval', 'commonest', 'both of a pair', '95 % interval', 'clips'],
            *lines]


def summaries(run: Experiment) -> list[list[str]]:
    """The table of `vmmjax evaluate`: the model, its controls, and by how much it is above them."""
    rows = next(iter(run.predictions('test').values()))
    found = run.task.details(rows, run.store)['tables'][0]
    return [list(found['columns']), *([_text(value) for value in line] for line in found['rows'])]


def _predictions(run: Experiment) -> Mapping[str, Predictions]:
    return run.predictions('test')


def _share(right: np.ndarray) -> tuple[str, str]:
    found = intervals.proportion(right.astype(float))
    return f'{100 * found.mean:.1f} %', f'{100 * found.low:.1f} to {100 * found.high:.1f}'


def _text(value: object) -> str:
    return '' if value is None else f'{value:.3f}' if isinstance(value, float) else str(value)


def _vmmjax(*arguments: str) -> None:
    subprocess.run([sys.executable, '-m', 'vmmjax.cli.main', *arguments], check=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--only', choices=RUNS, help='trains no run behind this one (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='of the runs (default: 0)')
    flags = parser.parse_args()
    for name in RUNS:
        run = train(flags.folder, name, flags.seed)
        lines = {'captions': captions, 'questions': questions, 'summaries': summaries}[name](run)
        lines.insert(1, ['---', *['---'] * (len(lines[0]) - 1)])
        print(f'\n## {name}\n', *(f'| {" | ".join(line)} |' for line in lines), sep='\n', flush=True)
        if name == flags.only:
            return


if __name__ == '__main__':
    main()
