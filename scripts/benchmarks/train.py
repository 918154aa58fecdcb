r"""What the training loop costs beside the compiled step, and how long a run takes to its first step.

  scripts/bench train
  scripts/bench train --repeats=9 --write

The run is experiments/configs/motion_sound.py as `vmmjax train` makes it, on a prepared store: tf.data, logging and
asynchronous checkpoints as the config has them; only its evaluations are left out. A second one has a network of twice
the width, whose step takes longer. Overhead: the wall clock of `--steps` steps of the loop over that of as many bare
ones, the same compiled step on batches of the run that lie on the device already, half of them before the loop's and
half after, in the same process. The time to the first step is that of a process with nothing compiled before, and of
one that finds what the first has left in the compilation cache. The store is kept in --work for the next time. --write
puts the tables into experiments/results/benchmark_train.md.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax.reports import results_page
from vmmjax.text_table import markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'experiments' / 'results' / 'benchmark_train.md'
CONFIG = ROOT / 'experiments' / 'configs' / 'motion_sound.py'
# Of the network of pictures: that of the config, and twice as many channels.
WIDTHS = (0.125, 0.25)
# What is measured of the loop, and what is to be reached.
ROWS = {'steps of the loop over as many bare ones': 'at most 1.05', 'a step of the loop, ms': '', 'a bare step, ms': '',
        'CPU that a step of the loop takes beyond a bare one, ms': '',
        'a batch of the pipeline alone, ms': 'less than a step', 'its CPU, ms': '',
        'share of the time without input': '0'}
# What is done until a mark of the run is reached.
STAGES = {'imports': 'Python and imports', 'store': 'store, pipeline and model', 'weights': 'shapes and weights',
          'input': 'first two batches', 'step': 'compiling, and the first step'}


def prepare(store: Path) -> None:
    """Makes the store; what is there is kept."""
    done = store.with_suffix('.prepared')
    if not done.exists():
        subprocess.run([sys.executable, '-m', 'vmmjax.cli.main', 'prepare', '--source=synthetic:motion_sound',
                        f'--store={store}', '--columns=rgb,audio', '--short_side=56', '--fps=12.5',
                        '--sizes=train=256'], check=True)
        done.touch()


def measure(store: Path, work: Path, name: str, *options: str) -> dict[str, Any]:
    """What a run, in a process of its own, says of itself."""
    folder = work / name
    subprocess.run(
        [sys.executable, str(Path(__file__).with_name('steps.py')), str(CONFIG), str(store), str(folder),
         f'--began={time.monotonic()}', *options],
        check=True, env=os.environ | {'XDG_CACHE_HOME': str(work)})
    return json.loads((folder / 'measured.json').read_text())


def loop_table(runs: dict[float, dict[str, Any]], steps: int) -> str:
    """Markdown, a column a width."""
    columns = [loop_column(found, steps) for found in runs.values()]
    return markdown(['', *(f'I3D of {width:g} of its width' for width in runs), 'to reach'],
                    list(zip(ROWS, *columns, ROWS.values(), strict=True)))


def loop_column(found: dict[str, Any], steps: int) -> list[str]:
    """The values of `ROWS` in one run: median, lowest and highest of the repeats."""
    # Seconds and CPU seconds of `steps` steps: the bare ones on both sides of a repeat are as many as its own.
    loop, bare = np.array(found['loop']), np.array(found['bare'])
    bare = bare[1:] + bare[:-1]
    logged = len(loop) * steps // found['log_every']
    waits = found['waits'][-logged:]
    seconds, cpu = (value / steps for value in found['fetched'])
    return [_spread(loop[:, 0] / bare[:, 0], 1, '.3f'), _spread(loop[:, 0], 1e3 / steps),
            _spread(bare[:, 0], 1e3 / steps), _spread((loop - bare)[:, 1], 1e3 / steps), f'{1e3 * seconds:.1f}',
            f'{1e3 * cpu:.1f}', _spread(waits, 1, '.4f')]


def start_table(runs: dict[str, dict[str, Any]]) -> str:
    """Markdown; the marks in the order in which a run comes by them."""
    spans = [*zip(STAGES.values(), itertools.pairwise(['started', *STAGES]), strict=True), ('all', ('started', 'step'))]
    return markdown(['seconds until the first step is done', *runs], [
        [what, *(f'{run["marks"][mark] - run["marks"][before]:.1f}' for run in runs.values())]
        for what, (before, mark) in spans])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench train', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--steps', type=int, default=100, help='of a repeat (default: 100)')
    parser.add_argument('--repeats', type=int, default=3, help='of loop and bare steps (default: 3)')
    parser.add_argument('--work', type=Path, default=Path(tempfile.gettempdir()) / 'vmmjax_bench', help='folder')
    parser.add_argument('--write', action='store_true', help=f'put the tables into {PAGE.relative_to(ROOT)}')
    flags = parser.parse_args()
    store = flags.work / 'motion_sound'
    prepare(store)
    with tempfile.TemporaryDirectory() as work:
        options = f'--steps={flags.steps}', f'--repeats={flags.repeats}'
        cold = measure(store, Path(work), 'cold', *options, f'--width={WIDTHS[0]}', '--first')
        warm = {width: measure(store, Path(work), f'warm{width}', *options, f'--width={width}') for width in WIDTHS}
    parts = [f'{results_page.machine(("jax", "tensorflow-cpu"))}; {flags.repeats} repeats.',
             loop_table(warm, flags.steps),
             start_table({'nothing compiled before': cold, 'compiled before': warm[WIDTHS[0]]})]
    print(*parts, sep='\n\n')
    if flags.write:
        results_page.insert(PAGE, *parts)


def _spread(values: Any, factor: float, form: str = '.1f') -> str:
    low, middle, high = (format(factor * value, form) for value in (
        min(values), statistics.median(values), max(values)))
    return f'{middle} ({low} to {high})'


if __name__ == '__main__':
    main()
