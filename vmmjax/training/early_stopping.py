"""The evaluations of a run: which was the best, whose checkpoint is kept, and when to stop for want of a better one."""

import json
import logging
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jax

from vmmjax import atomic
from vmmjax.errors import UserError, did_you_mean
from vmmjax.training import distributed

MODES = ('max', 'min')
_FILE = 'best.json'

_LOG = logging.getLogger(__name__)


def check_metric(metric: str, figures: Iterable[str]) -> None:
    """Raises a UserError where `config.best.metric` is none of an evaluation's figures."""
    if metric not in (names := list(figures)):
        known = f'{did_you_mean(metric, names)}.' if names else (
            'nothing is measured while the model trains, as there is no validation split; leave it out.')
        raise UserError(f'The evaluation has no config.best.metric {metric!r}: {known}')


def best_step(workdir: Path) -> int | None:
    """The step of the best evaluation of a run; None where it keeps none, or is of an older version."""
    step: int | None = _read(workdir).get('step')
    return step


class Evaluations:
    """The evaluations that a run has had, by step, and the best of them by one of their figures.

    They stand in `<workdir>/best.json`, which is written whole after each: `metric`, `step` and `value` of the best,
    and `evaluations`, of each its step and its figure, None where it has none.
    """

    def __init__(self, settings: Any, workdir: Path, start: int, older: Mapping[str, Any] | None = None) -> None:
        """Goes on from a step: later evaluations are forgotten.

        Args:
          settings: `config.best`; without a `metric` nothing is ever better.
          workdir: of the run.
          start: steps done.
          older: what the checkpoint of a run of an older version holds in place of the file: `step` and `value` of the
            best evaluation, and how many came `since`.

        Raises:
          UserError: for a mode that there is not, and a damaged file.
        """
        if settings.mode not in MODES:
            raise UserError(f'There is no config.best.mode {settings.mode!r}: {did_you_mean(settings.mode, MODES)}.')
        self._settings, self._workdir = settings, workdir
        found = distributed.agreed(lambda: _read(workdir))
        if not found and older:
            found = {'metric': settings.metric, 'evaluations': [
                [older['step'], older['value']], *([start, None] for _ in range(older['since']))]}
        same = found.get('metric') == settings.metric
        self._figures: list[tuple[int, float | None]] = [
            (step, value if same else None) for step, value in found.get('evaluations', ()) if step <= start]

    def has(self, step: int) -> bool:
        """Whether a step was evaluated."""
        return any(step == other for other, _ in self._figures)

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and figure of the best one, the first of equally good ones; None before there is one."""
        sign = 1 if self._settings.mode == 'max' else -1
        known = [(step, value) for step, value in self._figures if value is not None]
        return max(known, key=lambda each: sign * each[1], default=None)

    @property
    def step(self) -> int | None:
        """That of the best one."""
        return self.best[0] if self.best else None

    @property
    def since(self) -> int:
        """How many came since the best one."""
        steps = [step for step, _ in self._figures]
        return len(steps) - 1 - steps.index(self.best[0]) if self.best else 0

    @property
    def exhausted(self) -> bool:
        """Whether so many were no better that the run is to end."""
        return 0 < self._settings.patience <= self.since

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Takes note of one, and writes the file; a figure that is not finite is none.

        Raises:
          UserError: where it lacks the figure.
        """
        metric, value = self._settings.metric, None
        if metric:
            check_metric(metric, figures)
            value = float(figures[metric])
        self._figures.append((step, value if value is not None and math.isfinite(value) else None))
        if jax.process_index() == 0:
            self._write()

    def _write(self) -> None:
        step, value = self.best or (None, None)
        path = self._workdir / _FILE
        try:
            atomic.write(path, json.dumps({'metric': self._settings.metric, 'step': step, 'value': value,
                                           'evaluations': self._figures}) + '\n')
        except OSError as error:
            _LOG.warning('%s cannot be written: %s; make room. Training goes on.', path, error.strerror)


def _read(workdir: Path) -> dict[str, Any]:
    """What stands in the file; empty where there is none."""
    path = workdir / _FILE
    try:
        found = json.loads(path.read_bytes())
        if not all(isinstance(step, int) and (value is None or isinstance(value, float))
                   for step, value in found['evaluations']):
            raise ValueError('steps and figures are expected')
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f'{path} is damaged ({error}): delete it, and the run goes on as if it had had no evaluation '
                        f'yet.') from error
    return dict(found)
