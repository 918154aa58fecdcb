r"""What training takes on pods of TPUs that are not here: three models on slices of v5e, v5p and v6e.

  scripts/pods                        # all; some minutes of compiling each, one after another
  scripts/pods --only=tsm --write     # one model; puts all that was made by then into experiments/results/pods.md

Each line is that of `vmmjax plan` for a model and a topology, with as many clips a chip on all of them, so that one
sees what grows with the slice: for that all slices are compiled with less effort (JAX_OPTIMIZATION_LEVEL=O1), and the
smallest of each chip once more as for training. Lines are kept in --work and not made again; empty it after a change
of the step.
"""

import argparse
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from vmmjax import atomic
from vmmjax.reports import results_page

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
    'i3d': Model('I3D on 64 x 224 x 224', 'experiments/papers/i3d.py:kinetics400,rgb', 8),
    'tsm': Model('TSM-R50 on 8 x 224 x 224', 'experiments/papers/tsm.py:kinetics400,r50,8f', 16),
    'three': Model('I3D, TSM-R50 and Cnn14, on pictures, motion and sound',
                   'experiments/configs/systems/i3d_tsm_audio.py:full', 8),
}
# 16, 64 and 256 chips.
SLICES = {'v5e': ('4x4', '8x8', '16x16'), 'v5p': ('2x2x4', '4x4x4', '4x8x8'), 'v6e': ('4x4', '8x8', '16x16')}
SMALLEST = [f'{kind}:{shapes[0]}' for kind, shapes in SLICES.items()]
ALL = [f'{kind}:{shape}' for kind, shapes in SLICES.items() for shape in shapes]
# How hard the compiler tries -> what is said of it, and the slices that are compiled so.
EFFORTS = {
    '': ('Compiled as for training', SMALLEST),
    'O1': ('Compiled with less effort, on all slices, to see what grows', ALL),
}


class Line(NamedTuple):
    """One of a table: a model on a slice, compiled with an effort of `EFFORTS`."""

    name: str
    topology: str
    effort: str

    def path(self, work: Path) -> Path:
        """Of what was made of it: header, rule and line."""
        return work / f'{self.name}-{self.topology.replace(":", "-")}{self.effort and "-"}{self.effort}.md'

    def make(self, work: Path) -> None:
        """Compiles, unless that is done."""
        if not self.path(work).exists():
            environment = {'JAX_OPTIMIZATION_LEVEL': self.effort} if self.effort else {}
            found = subprocess.run([sys.executable, '-m', 'vmmjax.cli.main', *arguments(self.name, self.topology)],
                                   cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True,
                                   env=os.environ | environment)
            atomic.write(self.path(work), '\n'.join(found.stdout.splitlines()[-3:]))


def arguments(name: str, topology: str) -> list[str]:
    """Of `vmmjax`, for a line."""
    return ['plan', f'--config={MODELS[name].config}', '--config.model.dtype=bfloat16', f'--topology={topology}',
            f'--clips={MODELS[name].clips}']


def tables(name: str, work: Path) -> list[str]:
    """A model's, of all lines that were made by now, each below its command."""
    parts = []
    for effort, (said, topologies) in EFFORTS.items():
        paths = [Line(name, topology, effort).path(work) for topology in topologies]
        found = [path.read_text(encoding='utf-8').splitlines() for path in paths if path.exists()]
        if found:
            command = ' '.join([f'JAX_OPTIMIZATION_LEVEL={effort}'] * bool(effort)
                               + ['vmmjax', *arguments(name, 'TOPOLOGY')])
            parts += [f'{said}:\n\n```\n{command}\n```',
                      '\n'.join([*found[0][:2], *(line for _, _, line in found)])]
    return [f'## {MODELS[name].title}', *parts] if parts else []


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/pods', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', choices=MODELS, help='one model')
    parser.add_argument('--work', type=Path, default=ROOT / 'runs' / 'pods', help='folder (default: runs/pods)')
    parser.add_argument('--write', action='store_true', help=f'put the tables into {PAGE.relative_to(ROOT)}')
    flags = parser.parse_args()
    flags.work.mkdir(parents=True, exist_ok=True)
    wanted = [Line(name, topology, effort) for name in MODELS if flags.only in (None, name)
              for effort, (_, topologies) in EFFORTS.items() for topology in topologies]
    with tqdm(wanted, unit='topology', dynamic_ncols=True) as progress:
        for line in progress:
            progress.set_postfix_str(f'{line.name}, {line.topology}')
            line.make(flags.work)
    parts = [part for name in MODELS for part in tables(name, flags.work)]
    print(*parts, sep='\n\n')
    if flags.write:
        results_page.insert(PAGE, results_page.machine(('jax', 'libtpu')), *parts)


if __name__ == '__main__':
    main()
