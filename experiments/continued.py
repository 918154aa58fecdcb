r"""Four classes of the embedded data set, then four more: what is left of the first by each way of going on.

  python experiments/continued.py --stores=stores/continued --workdir=runs/continued --seeds=3 \
      --page=experiments/results/continued.md

Prepares the stores (`rising` and `falling`: the 4 motions with that tone; a memory of 20 clips a class), trains on the
first, goes on with the second by each method (`experiments/configs/motion_continued.py`), and writes the page. What is
there is not made again, so that the same command goes on where it was stopped.
"""

import argparse
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.evaluation import forgetting
from vmmjax.experiment import Experiment
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import Classes
from vmmjax.prepare import sources
from vmmjax.prepare.audio_columns import Audio
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Rgb
from vmmjax.reports import results_page
from vmmjax.store.store import Store
from vmmjax.text_table import markdown

TONES, MEMORY = ('rising', 'falling'), 20  # The classes of each step; clips of a class that are kept.
FIGURES = ('average', 'forgetting', 'backward transfer')
PAGE = rf'''# Four classes, then four more

```
python experiments/continued.py --stores=stores/continued --workdir=runs/continued --seeds=3 \
    --page=experiments/results/continued.md
```

The embedded set has 4 motions x 2 tones: first the motions with a rising tone, then those with a falling one. Accuracy
is that among all 8 classes on the test clips (400 of each; a tenth has no sound, whose tone cannot be told). Forgetting
is counted from the best accuracy before the last step. Intervals are 95 %, by a bootstrap over trainings and clips,
paired.

{results_page.BEGIN}

{results_page.END}
'''
_CONFIG = Path(__file__).parent / 'configs' / 'motion_continued.py'


def make_stores(folder: Path) -> None:
    """Prepares the stores that are not there."""
    clips = sources.read('synthetic:motion_sound', generated=folder / 'files', workers=2)
    seen: Counter[tuple[str, str]] = Counter()
    kept = []
    for clip in clips:
        seen[clip.split, clip.labels['label']] += 1
        if clip.split != 'train' or seen[clip.split, clip.labels['label']] <= MEMORY:
            kept.append(clip)
    parts = {tone: [clip for clip in clips if clip.labels['tone'] == tone] for tone in TONES}
    parts |= {'memory': [clip for clip in kept if clip.labels['tone'] == TONES[0]], 'memory_of_both': kept}
    for name, chosen in parts.items():
        columns = Rgb(fps=12.5, short_side=36), Audio()
        prepare(chosen, folder / name, columns, origin=name, processes=2, progress=False)


def runs(stores: Path, workdir: Path, seed: int) -> dict[str, tuple[Path, ConfigDict]]:
    """The folder and the config of every training with a seed, the one that others begin with first."""
    first, second = (str(stores / tone) for tone in TONES)
    beginning = str(workdir / f'first_{seed}')
    alone = {'init_from.workdir': '', 'init_from.classes': False, 'steps': 200}
    methods: dict[str, dict[str, Any]] = {
        'first': {**alone, 'data.store': first, 'steps': 140},
        'Naive': {},
        'Distillation': {'task': dict(name='distillation', workdir=beginning, weight=1.0, temperature=2.0)},
        f'Replay of {MEMORY} clips a class': {'data.replay': ((str(stores / 'memory'), 0.2),)},
        'Replay of all clips': {'data.replay': ((first, 0.2),)},
        f'GDumb, {MEMORY} clips a class': {**alone, 'data.store': str(stores / 'memory_of_both')},
        'Joint': {**alone, 'data.replay': ((first, 0.5),)}}
    found = {}
    for place, (name, changes) in enumerate(methods.items()):
        config = configs.load(_CONFIG).get_config('next')
        with config.unlocked():
            config.update_from_flattened_dict(
                {'seed': seed, 'data.store': second, 'init_from.workdir': beginning,
                 **{key: value for key, value in changes.items() if key != 'task'}})
            config.task = changes.get('task', config.task)
        folder = workdir / (f'first_{seed}' if name == 'first' else f'{place}_{seed}')
        found[name] = (folder, configs.lock(config))
    return found


def right(experiment: Experiment, store: Store, target: str) -> np.ndarray:
    """Which test clips of a store a run tells rightly among all of its classes, bool (N,), in the catalog's order."""
    labels = Classes(store, target, classes=experiment.task.classes)
    pipeline = Pipeline(store, experiment.config.data, split='test', batch_size=experiment.config.batch_size,
                        train=False, seed=0, labels=labels)
    found = next(iter(experiment.predictions_of(pipeline.batches(), target, subsets=False).values()))
    return np.asarray(found.scores.argmax(1) == found.target)[np.argsort(found.id)]


def table(names: Sequence[str], told: Sequence[np.ndarray]) -> str:
    """The page's table.

    Args:
      names: of the methods, the last one Joint.
      told: of each data set, bool (methods, seeds, 2, clips).
    """
    figures = np.array([forgetting.kept(np.stack([each[place].mean((0, 2)) for each in told], -1))
                        for place in range(len(names))])
    drawn = forgetting.resampled(told)

    def cell(values: np.ndarray, draws: np.ndarray) -> str:
        low, high = 100 * np.quantile(draws, (0.025, 0.975))
        return f'{100 * float(values):.1f} ({low:.1f} to {high:.1f})'

    header = ['method', *(f'{tone}, %' for tone in TONES), *(f'{name}, %' for name in FIGURES), 'average less Joint']
    rows = []
    for place, name in enumerate(names):
        per_set = [f'{100 * each[place, :, 1].mean():.1f}' for each in told]
        # What is trained on everything at once, or from scratch, has nothing to forget.
        own = [cell(figures[place, at], drawn[:, place, at]) if not at or not name.startswith(('GDumb', 'Joint'))
               else '–' for at in range(len(FIGURES))]
        less = figures[place, 0] - figures[-1, 0], drawn[:, place, 0] - drawn[:, -1, 0]
        rows.append([name, *per_set, *own, '–' if name == 'Joint' else cell(*less)])
    notes = []
    for place, name in enumerate(names):
        if name.startswith('Replay'):
            parts = drawn[:, place, 1] / np.maximum(drawn[:, 0, 1], 1e-9)
            low, high = np.quantile(parts, (0.025, 0.975))
            share = figures[place, 1] / max(figures[0, 1], 1e-9)
            notes.append(f'{name}: forgetting is {share:.3f} ({low:.3f} to {high:.3f}) of that of Naive.')
    return '\n'.join([markdown(header, rows, '<' + '>' * (len(header) - 1)), '', *notes])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--stores', type=Path, required=True, help='folder of the stores')
    parser.add_argument('--workdir', type=Path, required=True, help='folder of the runs')
    parser.add_argument('--seeds', type=int, default=3, help='trainings of each method')
    parser.add_argument('--page', type=Path, required=True,
                        help='page whose table is written anew; made where it is not there')
    options = parser.parse_args()
    make_stores(options.stores)
    tested = [Store(options.stores / tone) for tone in TONES]
    told: dict[tuple[str, int], list[np.ndarray]] = {}
    for seed in range(options.seeds):
        planned: Mapping[str, tuple[Path, ConfigDict]] = runs(options.stores, options.workdir, seed)
        for name, (folder, config) in planned.items():
            file = folder / 'right.npz'
            if not file.exists():
                experiment = Experiment(config).train(folder)
                # The first run knows no class of the second store.
                found = [right(experiment, store, 'label') for store in tested[:1 if name == 'first' else None]]
                np.savez(file, *found)
            with np.load(file) as arrays:
                told[name, seed] = list(arrays.values())
    names = [name for name in planned if name != 'first']
    lacking = np.zeros(len(tested[1].rows('test')), bool)
    steps = [[[(told['first', seed] + [lacking])[place], told[name, seed][place]] for seed in range(options.seeds)]
             for place in range(2) for name in names]
    arrays = [np.array(steps[place * len(names):(place + 1) * len(names)]) for place in range(2)]
    page = f'{options.seeds} seeds.\n\n{table(names, arrays)}'
    print(page)
    if not options.page.exists():
        options.page.write_text(PAGE, encoding='utf-8')
    results_page.insert(options.page, results_page.machine(), page)


if __name__ == '__main__':
    main()
