"""Kills a real training run again and again, and compares what is left in the end with one that nobody disturbed.

  scripts/chaos --seed=0 --write

A small `vmmjax train` is ended by SIGKILL at random moments: before its first checkpoint, while a save is uncommitted,
during restore, and anywhere. The moments are chosen by watching the workdir and what the run prints; nothing in vmmjax
knows of it, and each kill is counted as what it turned out to be. When a run ends in spite of it, another is begun.
In between, the store is put away for one that was prepared anew at another size, with which the run must refuse to go
on; and records of the validation split are damaged while it trains, so that an evaluation fails, and are mended again.
Every final checkpoint and every logged loss must equal the undisturbed run's bit for bit. Then single bits are flipped
in the files of a checkpoint and its manifest: it must never be taken for whole. --write puts the figures into
experiments/results/chaos.md.
"""

import argparse
import json
import logging
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import jax
import numpy as np
import orbax.checkpoint as ocp

from vmmjax.errors import UserError
from vmmjax.reports import results_page
from vmmjax.training import Checkpoints

ROOT = Path(__file__).resolve().parents[1]
KINDS = {'early': 'before the first checkpoint', 'save': 'while a save was uncommitted', 'restore': 'during restore',
         'anywhere': 'at another moment'}
PATIENCE = 300  # Seconds after which a run that does nothing is hanging.


def command(*arguments: str) -> list[str]:
    """`vmmjax`, of this checkout."""
    return [sys.executable, '-m', 'vmmjax.cli.main', *arguments]


def environment() -> dict[str, str]:
    """One device, as a user has."""
    return {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'} | {
        'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu', 'JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS': '0'}


class Run:
    """A training process and what can be seen of it from outside."""

    def __init__(self, workdir: Path, store: Path, steps: int) -> None:
        """Starts it."""
        self._workdir = workdir
        self._process = subprocess.Popen(
            command('train', '--config=tests/cli/toy_config.py', f'--workdir={workdir}', f'--config.data.store={store}',
                    f'--config.steps={steps}', f'--config.evaluate_every={max(1, steps // 6)}'),
            cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read)
        self._reader.start()
        self.began = time.monotonic()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line)

    def said(self, text: str) -> bool:
        """Whether it printed that."""
        return any(text in line for line in list(self.lines))

    @property
    def status(self) -> int | None:
        """The exit status; None while it goes on.

        Raises:
          SystemExit: where it hangs.
        """
        if time.monotonic() - self.began > PATIENCE:
            self.kill()
            sys.exit(f'The run hangs: {"".join(self.lines[-20:])}')
        if self._process.poll() is None:
            return None
        self._reader.join()
        return self._process.returncode

    @property
    def ended(self) -> bool:
        """Whether it is over, which it must be well.

        Raises:
          SystemExit: where it failed or hangs.
        """
        if self.status:
            sys.exit(f'The run failed with {self.status}: {"".join(self.lines[-20:])}')
        return self.status is not None

    def kill(self) -> None:
        """By SIGKILL."""
        self._process.kill()
        self._process.wait()
        self._reader.join()

    @property
    def trains(self) -> bool:
        """Whether it has its state, and removed what earlier kills have left."""
        return self.said('compiling the first step')

    @property
    def saves(self) -> bool:
        """Whether a save of it is not committed."""
        return self.trains and unfinished(self._workdir)

    @property
    def restores(self) -> bool:
        """Whether it is between choosing a checkpoint and having its state."""
        return self.said('Going on from step') and not self.trains


def newest(workdir: Path) -> int:
    """The newest step whose save was finished; 0 where there is none."""
    return max((int(path.stem) for path in (workdir / 'manifests').glob('*.json')), default=0)


def unfinished(workdir: Path) -> bool:
    """Whether a save lies there that was begun and not finished."""
    folder = workdir / 'checkpoints'
    # Listed before the manifests: a save that ends in between must not seem unfinished.
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    last = newest(workdir)
    return any(not name.isdigit() or int(name) > last for name in names)


def disturb(run: Run, kind: str, workdir: Path, startup: float, rng: np.random.Generator) -> str | None:
    """Waits for a moment of a kind and kills the run; returns of which kind it was, None where the run had ended."""
    until = run.began + startup * (rng.uniform(0, 1) if kind == 'early' else rng.uniform(0.5, 1.3))
    step = newest(workdir) + int(rng.integers(0, 10))
    while True:
        if run.ended:
            return None
        if kind == 'save':
            reached = run.saves and newest(workdir) >= step
        elif kind == 'restore':
            reached = run.restores
        else:
            reached = time.monotonic() > until
        if reached:
            break
        time.sleep(0.0005)
    if kind in ('save', 'restore'):
        time.sleep(rng.uniform(0, 0.05))
    run.kill()
    if run.saves:
        return 'save'
    if run.restores:
        return 'restore'
    return 'anywhere' if newest(workdir) else 'early'


def refuses(workdir: Path, store: Path, steps: int) -> None:
    """Starts the run on a store that was prepared anew, with which it must not go on.

    Raises:
      SystemExit: where it does.
    """
    run = Run(workdir, store, steps)
    while run.status is None:
        time.sleep(0.01)
    if run.status != 2 or not run.said('the column rgb has short_side='):
        sys.exit(f'On a store that was prepared anew it ended with {run.status}: {"".join(run.lines[-20:])}')


def fails_to_evaluate(workdir: Path, store: Path, steps: int) -> bool:
    """Damages the validation records of a store while a run trains on it, and mends them when it has ended.

    Returns:
      Whether it failed; not, where it had no evaluation left.

    Raises:
      SystemExit: where it failed otherwise.
    """
    run = Run(workdir, store, steps)
    shard = next((store / 'rgb').glob('*validation.array_record*'))
    good = shard.read_bytes()
    try:
        while run.status is None and not run.trains:
            time.sleep(0.001)
        shard.write_bytes(bytes(byte ^ 0x55 for byte in good))
        while run.status is None:
            time.sleep(0.01)
    finally:
        shard.write_bytes(good)
    if run.status and not run.said('is damaged'):
        sys.exit(f'The run failed with {run.status}: {"".join(run.lines[-20:])}')
    return bool(run.status)


def arrays(workdir: Path, steps: int) -> dict[str, np.ndarray]:
    """Every array of the final checkpoint."""
    found = Checkpoints(workdir).newest()
    if found != steps:
        sys.exit(f'The newest checkpoint of a finished run is of step {found}, not {steps}.')
    with ocp.StandardCheckpointer() as reader:
        return jax.device_get(reader.restore(workdir.absolute() / 'checkpoints' / str(steps) / 'state'))


def losses(workdir: Path) -> dict[tuple[int, str], float]:
    """The logged losses of every step and evaluation; each must stand there once."""
    lines = [json.loads(line) for line in (workdir / 'log.jsonl').read_text().splitlines()]
    found = [((line['step'], name), line[name]) for line in lines for name in ('train/loss', 'validation/loss')
             if name in line]
    if len(dict(found)) != len(found):
        sys.exit('A step was logged twice.')
    return dict(found)


def compare(workdir: Path, reference: Path, steps: int) -> None:
    """Ends the script where anything differs from the undisturbed run.

    Raises:
      SystemExit: names what differs.
    """
    expected, found = arrays(reference, steps), arrays(workdir, steps)
    if expected.keys() != found.keys():
        sys.exit(f'Other arrays: {sorted(expected.keys() ^ found.keys())}.')
    for name, array in expected.items():
        if array.dtype != found[name].dtype or array.tobytes() != found[name].tobytes():
            sys.exit(f'{name} differs from the undisturbed run.')
    if losses(workdir) != losses(reference):
        sys.exit('The logged losses differ from those of the undisturbed run.')


def kill_again_and_again(folder: Path, store: Path, anew: Path, args: argparse.Namespace) -> dict[str, object]:
    """The kills, what they were, and what else was done to the runs; `anew` is the store prepared at another size."""
    rng = np.random.default_rng(args.seed)
    quotas = {'early': args.early, 'save': args.saves, 'restore': args.restores}
    reference = folder / 'reference'
    run = Run(reference, store, args.steps)
    while not newest(reference) and not run.ended:
        time.sleep(0.001)
    startup = time.monotonic() - run.began
    while not run.ended:
        time.sleep(0.01)
    print(f'The undisturbed run took {time.monotonic() - run.began:.0f} s, {startup:.0f} s to its first checkpoint.')

    share = sum(quotas.values()) / max(args.kills, sum(quotas.values()))
    counts: Counter[str] = Counter()
    refused = failed = 0
    runs, before = 1, 0
    workdir = folder / 'run1'
    while True:
        lacking = [kind for kind, quota in quotas.items() if counts[kind] < quota]
        enough = counts.total() >= args.kills and not lacking
        if newest(workdir) and refused < args.anew and (enough or rng.random() < 0.3):
            refuses(workdir, anew, args.steps)
            refused += 1
            print(f'refused {refused}: the store was prepared anew', flush=True)
        if newest(workdir) and failed < args.failures and (enough or rng.random() < 0.3) and fails_to_evaluate(
                workdir, store, args.steps):
            failed += 1
            print(f'evaluation failed {failed}: at step {newest(workdir)} of {args.steps}', flush=True)
        over = enough and refused >= args.anew and failed >= args.failures
        possible = [kind for kind in lacking if kind != 'early' and (newest(workdir) or kind == 'save')]
        if 'early' in lacking and not newest(workdir):
            possible = ['early']
        kind = str(rng.choice(possible)) if possible and rng.random() < share else 'anywhere'
        run = Run(workdir, store, args.steps)
        while over and not run.ended:
            time.sleep(0.01)
        was = None if over else disturb(run, kind, workdir, startup, rng)
        if was is None:
            compare(workdir, reference, args.steps)
            print(f'Run {runs} has ended as the undisturbed one did.', flush=True)
            if over:
                break
            runs, before = runs + 1, 0
            workdir = folder / f'run{runs}'
            continue
        counts[was] += 1
        if newest(workdir) < before:
            sys.exit(f'A finished save was lost: the newest was {before}, is {newest(workdir)}.')
        before = newest(workdir)
        print(f'kill {counts.total()}: {KINDS[was]}, at step {before} of {args.steps}', flush=True)
    return {'kills': counts.total(), **{KINDS[kind]: counts[kind] for kind in KINDS},
            'starts on a store that was prepared anew, all refused': refused,
            'evaluations that failed, and were made by the next start': failed, 'runs that ended': runs,
            'of them different from the undisturbed run': 0}


def flip_bits(folder: Path, args: argparse.Namespace) -> dict[str, object]:
    """Flips single bits in the newest checkpoint and its manifest, one after the other."""
    rng = np.random.default_rng(args.seed)
    workdir = folder / 'flipped'
    shutil.copytree(folder / 'reference', workdir)
    files = [path for path in (workdir / 'checkpoints' / str(args.steps)).rglob('*')
             if path.is_file() and path.stat().st_size] + [workdir / 'manifests' / f'{args.steps}.json']
    for _ in range(args.flips):
        path = files[rng.integers(len(files))]
        good = path.read_bytes()
        bad = bytearray(good)
        where = rng.integers(8 * len(good))
        bad[where // 8] ^= 1 << (where % 8)
        path.write_bytes(bad)
        try:
            if Checkpoints(workdir).newest() == args.steps:
                sys.exit(f'Bit {where} of {path.relative_to(workdir)} was flipped, and nobody noticed.')
        except UserError:
            pass  # Refused, with a sentence.
        path.write_bytes(good)
    if Checkpoints(workdir).newest() != args.steps:
        sys.exit('The checkpoint is not what it was.')
    return {'bits flipped': args.flips, 'of them restored silently': 0}


def page(figures: dict[str, object], seconds: float) -> str:
    """The result, for experiments/results/chaos.md."""
    rows = [f'| {name} | {value} |' for name, value in figures.items()]
    arguments = shlex.join(argument for argument in sys.argv[1:] if not argument.startswith('--folder'))
    return '\n'.join([
        '# Chaos: killed runs end as undisturbed ones do', '',
        f'`scripts/chaos {arguments}`: {seconds / 60:.0f} minutes. '
        f'{results_page.machine(("jax", "orbax-checkpoint"))}.',
        '', 'Every kill is a SIGKILL of `vmmjax train`, counted as what it turned out to be; every final checkpoint '
        'and logged loss was compared bit for bit.', '', '| | |', '|---|---|', *rows, ''])


def main() -> None:
    """The script."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--seed', type=int, default=0, help='of the moments and the bits')
    parser.add_argument('--kills', type=int, default=100, help='in all, at least')
    parser.add_argument('--early', type=int, default=10, help='of them before the first checkpoint')
    parser.add_argument('--saves', type=int, default=30, help='of them while a save is uncommitted')
    parser.add_argument('--restores', type=int, default=10, help='of them during restore')
    parser.add_argument('--anew', type=int, default=10, help='starts on a store that was prepared anew')
    parser.add_argument('--failures', type=int, default=10, help='evaluations that fail')
    parser.add_argument('--flips', type=int, default=200, help='bits to flip')
    parser.add_argument('--steps', type=int, default=300, help='of the run')
    parser.add_argument('--store', type=Path, help='a store of motion_sound; made where none is given')
    parser.add_argument('--folder', type=Path, help='for the runs, kept; a temporary one where none is given')
    parser.add_argument('--write', action='store_true', help='write experiments/results/chaos.md')
    args = parser.parse_args()
    logging.getLogger('vmmjax').setLevel(logging.ERROR)  # A flipped bit is warned of.
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        folder = args.folder or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        store = args.store or folder / 'store'
        anew = folder / 'anew'
        for made, side in ((store, 32), (anew, 40)):
            if made != args.store:
                subprocess.run(command('prepare', '--source=synthetic:motion_sound', f'--store={made}',
                                       f'--files={folder / "clips"}', '--columns=rgb,audio', f'--short_side={side}',
                                       '--fps=6.25', '--sizes=train=40,validation=12,test=21'), cwd=ROOT,
                               env=environment(), check=True, stdout=subprocess.DEVNULL)
        figures = kill_again_and_again(folder, store, anew, args) | flip_bits(folder, args)
    text = page(figures, time.monotonic() - began)
    print(text)
    if args.write:
        (ROOT / 'experiments' / 'results' / 'chaos.md').write_text(text)


if __name__ == '__main__':
    main()
