r"""How long the first step of a config is compiled, and what of: nothing that was compiled before is used.

  scripts/bench compile
  scripts/bench compile experiments/configs/systems/audio.py experiments/configs/systems/two_stream_i3d.py --devices=8

The step is that of `vmmjax train`, for the CPU taken for so many devices. Where the config's store is not there, one
is imagined. A row: lines of the program that is handed to XLA (StableHLO), instructions of what XLA made of it and how
many of them are fusions, of each of which a kernel is compiled (of equal ones, one); seconds of tracing and of
compiling, and CPU seconds of compiling, which depend less on what else the machine does. Instructions are the same on
every machine.
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

from vmmjax import xla_flags
from vmmjax.text_table import markdown_lines

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / 'experiments' / 'configs' / 'motion_sound.py'
COLUMNS = ('config', 'StableHLO, lines', 'instructions', 'fusions', 'tracing, s', 'compiling, s', 'its CPU, s')


def measure(path: Path, devices: int, classes: int) -> list[str]:
    """The row of a config."""
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
    return [path.stem, f'{len(lowered.as_text().splitlines()):,}', f'{len(kinds):,}', f'{kinds.count("fusion"):,}',
            f'{traced - began:.1f}', f'{seconds:.1f}', f'{cpu:.1f}']


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench compile', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', type=Path, default=[CONFIG], help=f'files (default: {CONFIG.name})')
    parser.add_argument('--devices', type=int, default=1, help='that the CPU is taken for (default: 1)')
    parser.add_argument('--classes', type=int, default=4, help='of a target, where the store is not there (default: 4)')
    parser.add_argument('--row', action='store_true', help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.row:
        print(json.dumps(measure(flags.configs[0], flags.devices, flags.classes)))
        return
    for line in markdown_lines(COLUMNS, (apart(config, flags) for config in flags.configs), '<>'):
        print(line, flush=True)


def apart(config: Path, flags: argparse.Namespace) -> list[str]:
    """The row of a config, from a process of its own, with no program in memory."""
    count = f'--xla_force_host_platform_device_count={flags.devices}'
    found = subprocess.run([sys.executable, __file__, str(config), '--row', f'--devices={flags.devices}',
                            f'--classes={flags.classes}'], check=True, stdout=subprocess.PIPE, text=True,
                           env=os.environ | {'JAX_PLATFORMS': 'cpu', 'TF_CPP_MIN_LOG_LEVEL': '2',
                                             'XLA_FLAGS': f'{os.environ.get("XLA_FLAGS", "")} {count}'.strip()})
    row: list[str] = json.loads(found.stdout.splitlines()[-1])
    return row


if __name__ == '__main__':
    main()
