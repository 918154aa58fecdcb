"""Metrics of steps that still run: fetched all at once, so that the host never waits for a single step."""

import json
from pathlib import Path

import jax
import numpy as np
from jax.experimental import multihost_utils

from vmmjax import atomic
from vmmjax.errors import UserError

# How many steps the host may be ahead of the devices. One keeps them busy; more would hold batches in their memory, and
# hide whether they wait for input.
_AHEAD = 2


class Unfetched:
    """Metrics of the steps since the last `fetch`."""

    def __init__(self, folder: Path, limit: int) -> None:
        """Begins with none.

        Args:
          folder: the workdir, where `skipped.json` goes.
          limit: that many steps in a row without finite gradients stop the run.
        """
        self._folder, self._limit = folder, limit
        self._metrics: list[dict[str, jax.Array]] = []
        self._ids: dict[int, jax.Array] = {}
        self._in_a_row: list[int] = []

    def add(self, step: int, metrics: dict[str, jax.Array], ids: jax.Array) -> None:
        """Keeps the metrics of a step and the ids of its clips, where they are; waits for an earlier step only."""
        self._metrics.append(metrics)
        self._ids[step] = ids
        if len(self._metrics) > _AHEAD:
            jax.block_until_ready(self._metrics[-1 - _AHEAD])

    def fetch(self) -> dict[str, float]:
        """The mean of every metric over the steps since the last fetch, without those that were skipped; their number.

        Raises:
          UserError: after too many skipped steps in a row; `skipped.json` then has the ids of their clips.
        """
        steps, values = list(self._ids)[-len(self._metrics):], jax.device_get(self._metrics)
        self._metrics = []
        skipped = [bool(each['skipped']) for each in values]
        for step, bad in zip(steps, skipped, strict=True):
            self._in_a_row = [*self._in_a_row, step] if bad else []
            if len(self._in_a_row) == self._limit:
                raise self._stop()
        self._ids = {step: self._ids[step] for step in self._in_a_row}
        taken = [each for each, bad in zip(values, skipped, strict=True) if not bad] or values
        return {**{name: float(np.mean([each[name] for each in taken])) for name in taken[0]},
                'skipped': float(sum(skipped))}

    def _stop(self) -> UserError:
        ids = {step: self._ids[step] for step in self._in_a_row}
        if jax.process_count() > 1:
            ids = multihost_utils.process_allgather(ids, tiled=True)
        path = self._folder / 'skipped.json'
        if jax.process_index() == 0:
            atomic.write(path, json.dumps({step: np.asarray(rows).tolist() for step, rows in ids.items()}))
        return UserError(f'The gradients of {self._limit} steps in a row, to step {self._in_a_row[-1]}, were not '
                         f'finite; {path} has the ids (catalog rows) of their clips. Look at these, lower '
                         f'config.optimizer.lr.peak, or allow more with config.max_skipped.')
