"""Captions, questions and summaries of clips whose truth is known: everything that `results/told_scenes.md` has.

  python experiments/told_scenes.py runs/told_scenes --page=experiments/results/told_scenes.md

Prepares `synthetic:told_scenes` and `synthetic:joined_scenes` below the folder, trains the runs of
`configs/told_scenes.py`, prints tables of the test split, and puts them into the page. What is there already is kept,
so that a killed command goes on; `--only=captions` leaves out what comes later. Beside every figure stand its controls:
a stream withheld, the question alone, both clips of a pair of which one is the other played backwards, summaries at
random, at equal distances, by motion, by cuts and by loudness.
"""

import argparse
import subprocess
import sys
from pathlib import Path

import numpy as np

from vmmjax.evaluation import intervals
from vmmjax.experiment import Experiment
from vmmjax.prepare.sources import told_scenes
from vmmjax.reports import results_page
from vmmjax.text_table import markdown

CONFIGS = Path(__file__).parent / 'configs'
# Of each run the one whose encoders it begins with.
BEGIN = {'captions': 'motion_sound', 'questions': 'captions', 'summaries': 'motion_sound'}
# Of each source, the clips of its splits.
SIZES = {'motion_sound': 'train=1600,validation=160,test=800',
         'told_scenes': 'train=1600,validation=160,test=800', 'joined_scenes': 'train=160,validation=20,test=60'}


def train(folder: Path, name: str, seed: int) -> Experiment:
    """A run of told_scenes.py, trained to its last step with the encoders of another one, and loaded."""
    run, begin = folder / f'{name}_{seed}', folder / f'{BEGIN[name]}_{seed}'
    if name == 'captions':
        _train('motion_sound.py', 'motion_sound', folder, begin, seed)
    _train(f'told_scenes.py:{name}', 'joined_scenes' if name == 'summaries' else 'told_scenes', folder, run, seed,
           f'--config.init_from.workdir={begin}')
    return Experiment.load(run)


def _train(config: str, source: str, folder: Path, run: Path, seed: int, *changes: str) -> None:
    if not (folder / source / 'store.json').exists():
        _vmmjax('prepare', f'--source=synthetic:{source}', f'--store={folder / source}', f'--sizes={SIZES[source]}',
                '--columns=rgb,audio', '--short_side=56', '--fps=12.5')
    _vmmjax('train', f'--config={CONFIGS / config}', f'--workdir={run}', f'--config.data.store={folder / source}',
            f'--config.seed={seed}', *changes)


def captions(run: Experiment) -> list[list[str]]:
    """Of every attribute how often captions say it rightly, by subset of the streams."""
    found, true = run.predictions('test'), {}
    lines = [[name] for name in told_scenes.ATTRIBUTES]
    for rows in found.values():
        said = [told_scenes.said(text) for text in run.task.said(rows)]
        true = {name: run.store.values(name)[rows.id] for name in told_scenes.ATTRIBUTES}
        for line in lines:
            line.append(_share(np.array([each[line[0]] for each in said]) == true[line[0]]))
    for line in lines:
        line.append(_commonest(true[line[0]]))
    return [['attribute', *found, 'commonest'], *lines]


def questions(run: Experiment) -> list[list[str]]:
    """How often questions of each kind, and those about both clips of a pair, are answered rightly, by subset."""
    found, true = run.predictions('test'), np.array([])
    streams = len(run.config.data.streams)
    # All streams, all but one, and the question alone.
    found = {name: rows for name, rows in found.items() if name == 'question'
             or ('question' in name.split('+') and len(name.split('+')) >= streams - 1)}
    lines = {kind: [[kind, what] for what in ('a clip', 'both of a pair')] for kind in told_scenes.KINDS}
    for rows in found.values():
        kinds, pairs, true = (run.store.values(name)[rows.id] for name in ('kind', 'pair', 'answer'))
        right = np.array(run.task.said(rows)) == true
        for kind, (one, both) in lines.items():
            own = kinds == kind
            one.append(_share(right[own]))
            both.append(_share(np.bincount(np.unique(pairs[own], return_inverse=True)[1], right[own]) == 2))
    for kind, (one, both) in lines.items():
        one.append(_commonest(true[kinds == kind]))
        both.append('')
    return [['question', 'of', *found, 'commonest'], *(line for each in lines.values() for line in each)]


def summaries(run: Experiment) -> list[list[str]]:
    """The table of `vmmjax evaluate`: the model, its controls, and by how much it is above them."""
    rows = next(iter(run.predictions('test').values()))
    found = run.task.details(rows, run.store)['tables'][0]
    shares = [name in ('kept', 'model above') for name in found['columns']]
    return [list(found['columns']), *([f'{100 * value:.1f}' if share and value is not None else _text(value)
                                       for value, share in zip(line, shares, strict=True)] for line in found['rows'])]


def _share(right: np.ndarray) -> str:
    """Per cent with a 95 % interval."""
    found = intervals.proportion(right.astype(float))
    return f'{100 * found.mean:.1f} ({100 * found.low:.1f} to {100 * found.high:.1f})'


def _commonest(true: np.ndarray) -> str:
    """Per cent of the commonest value."""
    return f'{100 * np.unique(true, return_counts=True)[1].max() / len(true):.1f}'


def _text(value: object) -> str:
    return '' if value is None else f'{value:.3f}' if isinstance(value, float) else str(value)


def _vmmjax(*arguments: str) -> None:
    subprocess.run([sys.executable, '-m', 'vmmjax.cli.main', *arguments], check=True)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', type=Path)
    parser.add_argument('--only', choices=list(BEGIN), help='the last table that is made (default: all)')
    parser.add_argument('--seed', type=int, default=0, help='of the runs (default: 0)')
    parser.add_argument('--page', type=Path, help='a Markdown page that gets the tables, between its marks')
    flags = parser.parse_args()
    parts = [results_page.machine(), f'Seed {flags.seed}; per cent of the test split with 95 % intervals (Wilson; of '
             f'differences over videos Student\'s t).']
    for name in BEGIN:
        run = train(flags.folder, name, flags.seed)
        header, *lines = {'captions': captions, 'questions': questions, 'summaries': summaries}[name](run)
        parts.append(f'### {name.capitalize()}\n\n{markdown(header, lines, "<<>")}')
        print(f'\n{parts[-1]}', flush=True)
        if name == flags.only:
            break
    if flags.page:
        results_page.insert(flags.page, *parts)


if __name__ == '__main__':
    main()
