"""Batches of all windows of the clips of a store."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vmmjax.data.cuts import Cut, reflect
from vmmjax.data.filling import Clips
from vmmjax.data.pipeline import Pipeline
from vmmjax.data.store import Store


class Windows(Pipeline):
    """Batches of all windows of some clips of a store, in order; nothing is augmented.

    Attributes:
      clips: int64 (W,), the catalog row of each window.
      starts: float64 (W,), seconds from the beginning of its clip.
      ends: float64 (W,).
    """

    def __init__(self, store: Store, config: Mapping[str, Any], rows: np.ndarray, *, cut: Cut, batch_size: int):
        """Cuts the clips.

        Args:
          store: the store.
          config: `config.data`; its window is that of the cut, and its target, augmentation, noise and views are not
            read. A damaged record stops, whatever it says: windows and what is made of them belong together by order.
          rows: int64 (N,), catalog rows in ascending order.
          cut: how.
          batch_size: windows a batch.

        Raises:
          UserError: see `Pipeline`.
        """
        found = [cut.starts(duration) for duration in store.durations[rows].tolist()]
        self.clips = np.repeat(rows, [len(starts) for starts in found])
        self.starts = np.concatenate([np.zeros(0), *found])
        self.ends = cut.ends(self.starts, store.durations[self.clips])
        self._tail = cut.tail
        chosen = copy.copy(store)
        chosen.splits = {**store.splits, 'chosen': self.clips}  # The vocabulary of texts is that of a split.
        streams = {name: {**options, 'noise': ''} if 'noise' in options else options
                   for name, options in config['streams'].items()}
        settings = {**config, 'window': {'seconds': cut.window, 'start': None}, 'streams': streams, 'target': 'id',
                    'augment': {}, 'views': {}, 'on_damage': 'stop'}
        super().__init__(chosen, settings, split='chosen', batch_size=batch_size, train=False, seed=0)

    def batches(self, start_step: int = 0, rows: slice | None = None) -> Iterator[dict[str, np.ndarray]]:
        """As those of `Pipeline`; the tails are reflected where the cut says so."""
        for batch in super().batches(start_step, rows):
            if self._tail == 'reflect':
                for key in [key for key in batch if f'valid/{key}' in batch]:
                    reflected = [reflect(*each) for each in zip(batch[key], batch[f'valid/{key}'], strict=True)]
                    batch[key], batch[f'valid/{key}'] = (np.stack(parts) for parts in zip(*reflected, strict=True))
            yield batch

    def _clips(self, positions: np.ndarray) -> Clips:
        clips = super()._clips(positions)
        return dataclasses.replace(clips, starts=self.starts[np.where(clips.real, positions, 0)])
