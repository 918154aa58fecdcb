r"""How long the first step of a config is compiled, and what of: nothing that was compiled before is used.

  scripts/bench compile
  scripts/bench compile --write
  scripts/bench compile experiments/configs/systems/audio.py experiments/configs/systems/two_stream_i3d.py --devices=8

The step is that of `vmmjax train`, for the CPU taken for so many devices. Where the config's store is not there, one
is imagined. A row: lines of the program that is handed to XLA (StableHLO), instructions of what XLA made of it and how
many of them are fusions, of each of which a kernel is compiled (of equal ones, one); seconds of tracing and of
compiling, and CPU seconds of compiling, which depend less on what else the machine does: medians of the repeats, and
quartiles. Instructions are the same on every machine. --write puts the table into
experiments/results/benchmark_compile.md.
"""

import argparse
import json
import os
import runpy
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from vmmjax import xla_flags
from vmmjax.reports import results_page
from vmmjax.text_table import markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'experiments' / 'results' / 'benchmark_compile.md'
CONFIGS = [ROOT / 'experiments' / 'configs' / f'{name}.py' for name in ('motion_sound', 'own_clips')]
COLUMNS = ('config', 'devices', 'StableHLO, lines', 'instructions', 'fusions', 'tracing, s', 'compiling, s',
           'its CPU, s')


def measure(path: Path, devices: int, classes: int) -> dict[str, list[float]]:
    """Of a config's step `counts` (lines, instructions, fusions) and `times` (tracing, compiling, its CPU), seconds."""
    import jax

    from vmmjax.experiment import Experiment
    from vmmjax.pipeline.spec_store import SpecStore
    from vmmjax.planning import operations
    from vmmjax.training.build import build

    xla_flags.add(xla_flags.COMPILE_FASTER)  # As every command does.
    config = runpy.run_path(str(path))['get_config']()
    there = (Path(config.data.store) / 'store.json').is_file()
    store = None if there else SpecStore(config, classes=classes, fps=25.0)
    run = Experiment(config, store, devices=jax.devices()[:devices])
    built: Any = build(config, run.mesh, run.apply, run.init, run.task)
    batch = {name: jax.ShapeDtypeStruct(shape, dtype, sharding=run.batch_sharding)
             for name, (shape, dtype) in run.pipeline('train', train=True).spec.items()}
    began = time.perf_counter()
    lowered = built.step.lower(built.spec, batch)
    traced, cpu = time.perf_counter(), time.process_time()
    compiled = lowered.compile()
    seconds, cpu = time.perf_counter() - traced, time.process_time() - cpu
    kinds = [each.kind for each in operations(compiled.as_text()).values()]
    return dict(counts=[len(lowered.as_text().splitlines()), len(kinds), kinds.count('fusion')],
                times=[traced - began, seconds, cpu])


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench compile', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', type=Path, default=CONFIGS,
                        help=f'files (default: {", ".join(config.name for config in CONFIGS)})')
    parser.add_argument('--devices', default='1,8', help='that the CPU is taken for, a row each (default: 1,8)')
    parser.add_argument('--classes', type=int, default=4, help='of a target, where the store is not there (default: 4)')
    parser.add_argument('--repeats', type=int, default=3, help='processes a row (default: 3)')
    parser.add_argument('--write', action='store_true', help=f'put the table into {PAGE.relative_to(ROOT)}')
    parser.add_argument('--row', action='store_true', help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.row:
        print(json.dumps(measure(flags.configs[0], int(flags.devices), flags.classes)))
        return
    wanted = [(config, devices) for config in flags.configs for devices in flags.devices.split(',')]
    rows = []
    with tqdm(total=len(wanted) * flags.repeats, unit='process') as bar:
        for config, devices in wanted:
            bar.set_description(f'{config.stem}, {devices}')
            found = []
            for _ in range(flags.repeats):
                found.append(apart(config, devices, flags.classes))
                bar.update()
            rows.append((config.stem, devices, *(f'{count:,}' for count in found[0]['counts']),
                         *map(_cell, zip(*(each['times'] for each in found), strict=True))))
    table = markdown(COLUMNS, rows, '<>>>>>>>')
    said = f'{results_page.machine()}; {flags.repeats} processes a row.'
    print(said, table, sep='\n\n')
    if flags.write:
        results_page.insert(PAGE, said, table)


def apart(config: Path, devices: str, classes: int) -> dict[str, list[float]]:
    """What `measure` finds in a process of its own, with no program in memory."""
    count = f'--xla_force_host_platform_device_count={devices}'
    found = subprocess.run([sys.executable, __file__, str(config), '--row', f'--devices={devices}',
                            f'--classes={classes}'], check=True, stdout=subprocess.PIPE, text=True,
                           env=os.environ | {'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '2',
                                             'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {count}'.strip()})
    row: dict[str, list[float]] = json.loads(found.stdout.splitlines()[-1])
    return row


def _cell(times: tuple[float, ...]) -> str:
    low, middle, high = np.quantile(times, (0.25, 0.5, 0.75))
    return f'{middle:.1f} ({low:.1f} to {high:.1f})'


if __name__ == '__main__':
    main()
