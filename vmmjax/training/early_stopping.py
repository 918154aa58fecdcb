"""The best evaluation of a run: which checkpoint to keep, and when to stop for want of a better one."""

from collections.abc import Mapping
from typing import Any

from vmmjax.errors import UserError, did_you_mean

MODES = ('max', 'min')


class Best:
    """The best evaluation so far, by one of its figures.

    Attributes:
      found: JSON values, saved with every checkpoint: `step` and `value` of the best evaluation, and how many came
        `since`; empty before the first.
    """

    def __init__(self, settings: Any, found: Mapping[str, Any]) -> None:
        """Goes on from a checkpoint.

        Args:
          settings: `config.best`; without a `metric` nothing is ever better.
          found: of the checkpoint, or empty.

        Raises:
          UserError: for a mode that there is not.
        """
        if settings.mode not in MODES:
            raise UserError(f'There is no config.best.mode {settings.mode!r}: {did_you_mean(settings.mode, MODES)}.')
        self._settings = settings
        self.found = dict(found)

    @property
    def step(self) -> int | None:
        """That of the best evaluation."""
        return self.found['step'] if self.found else None

    @property
    def exhausted(self) -> bool:
        """Whether so many evaluations were no better that the run is to end."""
        return bool(self.found and 0 < self._settings.patience <= self.found['since'])

    def improves(self, step: int, values: Mapping[str, float]) -> bool:
        """Takes note of an evaluation; whether it is better than all before it. One that is not finite is none.

        Raises:
          UserError: where it lacks the figure.
        """
        metric = self._settings.metric
        if not metric:
            return False
        if metric not in values:
            raise UserError(f'The evaluation has no config.best.metric {metric!r}: {did_you_mean(metric, values)}.')
        sign = 1 if self._settings.mode == 'max' else -1
        if not self.found or sign * values[metric] > sign * self.found['value']:
            self.found = {'step': step, 'value': float(values[metric]), 'since': 0}
            return True
        self.found['since'] += 1
        return False
