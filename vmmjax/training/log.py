"""What a run says: a line on the terminal, a JSON line in a file, scalars for TensorBoard and Weights & Biases."""

import importlib
import json
import logging
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary

from vmmjax import atomic
from vmmjax.errors import UserError

_LOG = logging.getLogger(__name__)


class Log:
    """Writes `<workdir>/log.jsonl` (one object a line, with `step`) and TensorBoard events, from one process of a run.

    A run that goes on from `start_step` drops what was logged later than that, so each step stands there once.

    Attributes:
      elapsed: seconds that the run had taken when it last logged, with what was dropped.
      goodput: as it was last logged and kept; lower by what was dropped.
    """

    def __init__(self, workdir: Path, steps: int, start_step: int, wandb: str = '') -> None:
        """Opens all of them, at the end of what is kept.

        Args:
          workdir: of the run.
          steps: after which it ends.
          start_step: from which it goes on.
          wandb: a project of Weights & Biases; empty for none.

        Raises:
          UserError: where its package is not installed.
        """
        self.elapsed, self.goodput = 0.0, 0.0
        self._steps, self._start_step, self._began = steps, start_step, time.monotonic()
        self._writes = jax.process_index() == 0
        if not self._writes:
            return
        path = workdir / 'log.jsonl'
        entries = list(_entries(path))
        timed = [entry for entry in entries if 'elapsed' in entry]
        if timed:
            self.elapsed = max(entry['elapsed'] for entry in timed)
            useful = [entry['goodput'] * entry['elapsed'] for entry in timed if entry['step'] <= start_step]
            self.goodput = useful[-1] / self.elapsed if useful else 0.0
        atomic.write(path, ''.join(json.dumps(entry) + '\n' for entry in entries if entry['step'] <= start_step))
        self._file = path.open('a')
        (workdir / 'tensorboard').mkdir(exist_ok=True)
        # Not tensorboardX's SummaryWriter: a full disk or a clock that jumps ends its thread, and then training hangs.
        self._events = EventsWriter(str(workdir / 'tensorboard' / 'events'), f'.{start_step}')
        self._events.write_event(Event(step=start_step + 1, session_log=SessionLog(status=SessionLog.START)))
        self._wandb = _open_wandb(wandb, workdir) if wandb else None

    def write(self, step: int, values: dict[str, float]) -> None:
        """Records the values of a step and prints them, with the time that is left; warns where the disk is full."""
        if not self._writes:
            return
        try:
            self._file.write(json.dumps({'step': step, **values}) + '\n')
            self._file.flush()
            scalars = [Summary.Value(tag=name, simple_value=value) for name, value in values.items()]
            self._events.write_event(Event(step=step, wall_time=time.time(), summary=Summary(value=scalars)))
            self._events.flush()
            # Perhaps to a file on the same disk.
            print(f'step {step:>{len(str(self._steps))}}/{self._steps}  '
                  + '  '.join(f'{name} {_short(value)}' for name, value in values.items())
                  + f'  {self._left(step)} left', flush=True)
        except OSError as error:
            _LOG.warning('%s cannot be written: %s; make room. Training goes on.', self._file.name, error.strerror)
        if self._wandb is not None:
            self._wandb.log(values, step=step)

    def _left(self, step: int) -> str:
        done = step - self._start_step
        seconds = (time.monotonic() - self._began) / max(done, 1) * (self._steps - step)
        return f'{int(seconds // 60)}:{int(seconds % 60):02d}'

    def __enter__(self) -> Self:
        """Nothing is opened later."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Closes all of them."""
        if not self._writes:
            return
        try:
            self._file.close()
            self._events.close()
        except OSError as fault:
            _LOG.warning('%s cannot be written: %s.', self._file.name, fault.strerror)
        if self._wandb is not None:
            self._wandb.finish(exit_code=int(error is not None))


def _entries(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; a killed run may leave half a line."""
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            yield json.loads(line)
        except ValueError:
            continue


def _open_wandb(project: str, workdir: Path) -> Any:
    """The run of Weights & Biases that belongs to the folder: a run that goes on is the same there."""
    try:
        wandb = importlib.import_module('wandb')
    except ImportError as error:
        raise UserError("config.wandb needs a package: pip install 'vmmjax[wandb]'.") from error
    path = workdir.resolve()
    return wandb.init(project=project, name=path.name, id=f'{path.name}-{zlib.crc32(str(path).encode()):08x}',
                      dir=str(workdir), resume='allow')


def _short(value: float) -> str:
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}' if abs(value) < 0.01 else f'{value:.3f}'
