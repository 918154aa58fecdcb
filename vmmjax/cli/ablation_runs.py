"""The runs of an ablation: each is trained and measured in a folder of its own, by a command for each."""

import dataclasses
import functools
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from vmmjax import atomic
from vmmjax import config as configs
from vmmjax.cli.rows import Run
from vmmjax.errors import UserError
from vmmjax.evaluation import ablation, noise_sweep
from vmmjax.store.store import Store

_FAILED = 'failed.txt'
_POLL = 5  # Seconds between two looks at a run that another worker makes.
_TRAIN = '''"""{name}: written by vmmjax ablate."""

from pathlib import Path

from vmmjax import config as configs


def get_config():
    """The config beside this file."""
    return configs.from_json(Path(__file__).with_name('config.json').read_text())
'''


@dataclasses.dataclass(frozen=True)
class RunMaker:
    """Makes runs, one at a time.

    Attributes:
      split: that is measured.
      snr: signal-to-noise ratios in decibels, as texts, at which runs with waveforms are measured, too.
      noise: kinds of that noise.
    """

    split: str
    snr: Sequence[str]
    noise: Sequence[str]

    def commands(self, run: Run) -> list[list[str]]:
        """The command that trains a run and the one that measures it, as lists of arguments."""
        vmmjax = [sys.executable, '-m', 'vmmjax.cli.main']
        # Each is a run of its own, also where `srun` or `mpirun` has started several workers and says so to all.
        alone = '--num_processes=1'
        in_noise = [f'--snr={",".join(self.snr)}', f'--noise={",".join(self.noise)}']
        return [[*vmmjax, 'train', f'--config={run.folder / "config.py"}', f'--workdir={run.folder}', alone],
                [*vmmjax, 'evaluate', f'--workdir={run.folder}', f'--split={self.split}',
                 f'--store={run.config.data.store}', alone, *(in_noise if self._hears(run.config.data) else [])]]

    def is_finished(self, run: Run) -> bool:
        """Whether a run has been measured, also in noise where that was asked for."""
        names = [self.split, *([self.split + noise_sweep.SUFFIX] if self._hears(run.config.data) else [])]
        return all(ablation.is_finished(run.folder, name) for name in names)

    def reason(self, run: Run) -> str:
        """Why a run has no figures; empty where it has, or was not made yet."""
        path = run.folder / _FAILED
        return path.read_text() if path.is_file() and not self.is_finished(run) else ''

    def make(self, run: Run, progress: Any) -> None:
        """Trains and measures, unless that is done; what fails leaves a sentence in the run's folder."""
        if self.is_finished(run):
            return
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / _FAILED).unlink(missing_ok=True)
        for other in run.begin:
            while not self.is_finished(other):
                if self.reason(other):
                    atomic.write(run.folder / _FAILED, f'it begins with {other.row.name}, {other.name}, which failed')
                    return
                _show(progress, run, f'waits for {other.row.name}')
                time.sleep(_POLL)
        atomic.write(run.folder / 'config.json', configs.to_json(run.config))
        atomic.write(run.folder / 'config.py', _TRAIN.format(name=run.folder.name))
        for command in self.commands(run):
            reason = _run(command, run, progress)
            if reason:
                atomic.write(run.folder / _FAILED, reason)
                progress.write(f'{run.row.name}, {run.name} failed: {reason}')
                return

    def _hears(self, data: Any) -> bool:
        """Whether a run is to be measured in noise: it was asked for, and there is a stream to add it to."""
        return bool(self.snr) and bool(noise_sweep.waveforms(data.streams, _store(data.store)))


def check_unchanged(run: Run) -> None:
    """Refuses a folder that holds a run of another config: its figures would be those of something else."""
    from vmmjax.training.workdir import changes

    path = run.folder / 'config.json'
    if not path.is_file():
        return
    changed = [f'{key} was {old!r}, is {new!r}' for key, (old, new)
               in changes(path.read_text(), configs.to_json(run.config)).items()]
    if changed:
        raise UserError(f'The folder {run.folder} holds a run of another config: {"; ".join(changed)}. Name another '
                        f'--workdir, or delete that folder.')


def _show(progress: Any, run: Run, what: str) -> None:
    """What a run does, beside the bar: at once in a terminal, in a log not before the bar's next line."""
    progress.set_postfix_str(f'{run.row.name}, {run.name}: {what}', refresh=sys.stderr.isatty())


def _run(command: Sequence[str], run: Run, progress: Any) -> str:
    """Runs a command to its end, its output in the run's folder; returns why it failed, or nothing."""
    last = ''
    with (run.folder / 'ablate.log').open('a') as log, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace') as process:
        try:
            assert process.stdout is not None
            for text in process.stdout:
                log.write(text)
                log.flush()
                line = text.strip()
                last = line or last
                if line:
                    _show(progress, run, ' '.join(line.split())[:60])
        except BaseException:
            # The checkpoint of the last whole step is there: the same command goes on from it.
            process.send_signal(signal.SIGTERM)
            raise
    if process.returncode == 0:
        return last if last.startswith('Stopped') else ''  # After SIGTERM a run ends well, but early.
    if process.returncode < 0:
        return f'ended by {signal.Signals(-process.returncode).name}, see {run.folder / "ablate.log"}'
    return last.removeprefix('vmmjax: ') or f'exit status {process.returncode}'


_store = functools.cache(Store)
