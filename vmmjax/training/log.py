"""What a run says: a line on the terminal, a JSON line in a file, scalars for TensorBoard."""

import json
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tensorboardX import SummaryWriter

from vmmjax import atomic


class Log:
    """Writes `<workdir>/log.jsonl` (one object a line, with `step`) and TensorBoard events.

    A run that goes on from `start_step` drops what was logged later than that, so each step stands there once.
    """

    def __init__(self, workdir: Path, steps: int, start_step: int) -> None:
        """Opens both files, at the end of what is kept of them."""
        self._path = workdir / 'log.jsonl'
        self._steps, self._start_step, self._began = steps, start_step, time.monotonic()
        kept = self._path.read_text().splitlines(keepends=True) if self._path.exists() else []
        # A killed run may leave half a line.
        whole = [line for line in kept if line.endswith('\n') and json.loads(line)['step'] <= start_step]
        atomic.write(self._path, ''.join(whole))
        self._file = self._path.open('a')
        self._events = SummaryWriter(str(workdir / 'tensorboard'), purge_step=start_step + 1)

    def write(self, step: int, values: dict[str, float]) -> None:
        """Records the values of a step and prints them, with the time that is left."""
        self._file.write(json.dumps({'step': step, **values}) + '\n')
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)
        print(f'step {step:>{len(str(self._steps))}}/{self._steps}  '
              + '  '.join(f'{name} {_short(value)}' for name, value in values.items())
              + f'  {self._left(step)} left', flush=True)

    def _left(self, step: int) -> str:
        done = step - self._start_step
        seconds = (time.monotonic() - self._began) / max(done, 1) * (self._steps - step)
        return f'{int(seconds // 60)}:{int(seconds % 60):02d}'

    def __enter__(self) -> Self:
        """Nothing is opened later."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Closes both files."""
        try:
            self._file.close()
        finally:
            self._events.close()


def _short(value: float) -> str:
    return f'{value:.0f}' if abs(value) >= 100 else f'{value:.3g}' if abs(value) < 0.01 else f'{value:.3f}'
