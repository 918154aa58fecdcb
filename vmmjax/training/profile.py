"""A trace of some steps, on demand, for TensorBoard's profiler or Perfetto."""

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import jax

from vmmjax.errors import UserError
from vmmjax.training import distributed


class Profile:
    """Traces the steps of `config.profile` to `<workdir>/profile`."""

    def __init__(self, workdir: Path, steps: Sequence[int]) -> None:
        """Traces nothing yet.

        Args:
          workdir: of the run.
          steps: the first and the last one, or none.

        Raises:
          UserError: where they are no such pair.
        """
        if steps and not (len(steps) == 2 and 1 <= steps[0] <= steps[1]):
            raise UserError(f'config.profile is {tuple(steps)}; it names a first and a last step, such as (10, 12).')
        self._folder = workdir / 'profile'
        self._first, self._last = steps or (0, 0)
        self._running = False

    def before(self, step: int) -> None:
        """Begins the trace where that is the first step of it."""
        if step == self._first:
            jax.profiler.start_trace(str(self._folder))
            self._running = True

    def after(self, step: int, outputs: Any) -> None:
        """Ends the trace where that was the last step of it, once its outputs are there."""
        if self._running and step == self._last:
            jax.block_until_ready(outputs)
            self._stop()

    def _stop(self) -> None:
        self._running = False
        jax.profiler.stop_trace()
        distributed.say(f'The trace is in {self._folder}.')

    def __enter__(self) -> Self:
        """Nothing is opened yet."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None,
                 trace: TracebackType | None) -> None:
        """Ends a trace that runs."""
        if self._running:
            self._stop()
