r"""What training takes on pods of TPUs that are not here: three models on slices of v5e, v5p and v6e.

  scripts/pods                        # all; some minutes of compiling each, one after another
  scripts/pods --only=tsm --write     # one model; puts all that was made by then into experiments/results/pods.md

Each line is that of `vmmjax plan` for a model and a topology, with as many clips a chip on all of them, so that one
sees what grows with the slice. Lines are kept in --work and not made again; empty it after a change of the step.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from vmmjax import atomic
from vmmjax.evaluation import results

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / 'experiments' / 'results' / 'pods.md'


class Model(NamedTuple):
    """What is planned.

    Attributes:
      title: for people.
      config: argument of --config.
      clips: of each chip.
    """

    title: str
    config: str
    clips: int


MODELS = {
    'i3d': Model('I3D on 64 x 224 x 224', 'experiments/papers/i3d.py:kinetics400,rgb', 4),
    'tsm': Model('TSM-R50 on 8 x 224 x 224', 'experiments/papers/tsm.py:kinetics400,r50,8f', 16),
    'three': Model('I3D, TSM-R50 and Cnn14, on pictures, motion and sound',
                   'experiments/configs/systems/i3d_tsm_audio.py:full', 4),
}
# 16, 64 and 256 chips.
SLICES = {'v5e': ('4x4', '8x8', '16x16'), 'v5p': ('2x2x4', '4x4x4', '4x8x8'), 'v6e': ('4x4', '8x8', '16x16')}


def command(model: Model, topology: str) -> list[str]:
    """Of a line."""
    return ['vmmjax', 'plan', f'--config={model.config}', '--config.model.dtype=bfloat16', f'--topology={topology}',
            f'--clips={model.clips}']


def plan(model: Model, topology: str, path: Path) -> None:
    """Writes header, rule and line of a table; a file that is there stays."""
    if not path.exists():
        found = subprocess.run([sys.executable, '-m', 'vmmjax.cli.main', *command(model, topology)[1:]], cwd=ROOT,
                               stdout=subprocess.PIPE, text=True, check=True)
        atomic.write(path, '\n'.join(found.stdout.splitlines()[-3:]))


def _path(work: Path, name: str, topology: str) -> Path:
    return work / f'{name}-{topology.replace(":", "-")}.md'


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/pods', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', choices=MODELS, help='one model')
    parser.add_argument('--work', type=Path, default=ROOT / 'runs' / 'pods', help='folder (default: runs/pods)')
    parser.add_argument('--write', action='store_true', help=f'put the tables into {PAGE.relative_to(ROOT)}')
    flags = parser.parse_args()
    flags.work.mkdir(parents=True, exist_ok=True)
    topologies = [f'{kind}:{shape}' for kind, shapes in SLICES.items() for shape in shapes]
    wanted = [(name, topology) for name in MODELS if flags.only in (None, name) for topology in topologies]
    with tqdm(wanted, unit='topology', dynamic_ncols=True) as progress:
        for name, topology in progress:
            progress.set_postfix_str(f'{name}, {topology}')
            plan(MODELS[name], topology, _path(flags.work, name, topology))
    parts = []
    for name, model in MODELS.items():
        paths = [_path(flags.work, name, topology) for topology in topologies]
        found = [path.read_text(encoding='utf-8').splitlines() for path in paths if path.exists()]
        if found:
            parts += [f'## {model.title}', f'`{" ".join(command(model, "TOPOLOGY"))}`',
                      '\n'.join([*found[0][:2], *(line for _, _, line in found)])]
    print(*parts, sep='\n\n')
    if flags.write:
        results.insert(PAGE, results.machine(('jax', 'libtpu')), *parts)


if __name__ == '__main__':
    main()
