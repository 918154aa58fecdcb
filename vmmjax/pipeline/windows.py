"""Batches of all windows of the clips of a store."""

import copy
import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.pipeline.batch_builder import Clips
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.store.store import Store

TAILS = ('drop', 'pad', 'reflect')
_SLACK = 0.02  # Seconds; containers round their lengths, and half a picture more is none.


@dataclasses.dataclass(frozen=True)
class WindowSpec:
    """How a clip is cut into windows.

    Attributes:
      window: seconds of a window; 0 makes one window of the whole clip.
      stride: seconds from the beginning of a window to that of the next; 0 for `window`.
      tail: of a last window that reaches past the clip's end: `drop` leaves it out, `pad` masks what is missing,
        `reflect` puts in its place what came before, in reverse.
    """

    window: float
    stride: float = 0.0
    tail: str = 'pad'

    def __post_init__(self) -> None:
        if self.window < 0 or self.stride < 0:
            raise UserError(f'A window of {self.window:g} s every {self.stride:g} s is none; give seconds above 0.')
        if self.tail not in TAILS:
            raise UserError(f'There is no tail {self.tail!r}: {did_you_mean(self.tail, TAILS)}.')
        object.__setattr__(self, 'stride', self.stride or self.window)

    def starts(self, duration: float) -> np.ndarray:
        """Where the windows of a clip begin.

        Args:
          duration: seconds of the clip.

        Returns:
          float64 (W,), seconds: every window that lies in the clip, up to 20 ms, and unless the tail is dropped the
          next one, where that adds something.
        """
        if not self.window:
            return np.zeros(1)
        count = max(0, int(np.floor((duration - self.window + _SLACK) / self.stride)) + 1)
        following = count * self.stride
        covered = following - self.stride + self.window if count else 0.0
        if self.tail != 'drop' and max(covered, following) < duration - _SLACK:
            count += 1
        elif not count and self.tail != 'drop':
            count = 1  # A clip of next to no time.
        return np.arange(count) * self.stride

    def ends(self, starts: np.ndarray, durations: np.ndarray | float) -> np.ndarray:
        """Where windows end, no later than their clips: float64 (W,) for the same and a length of each or of all."""
        return np.minimum(starts + self.window, durations) if self.window else durations + 0 * starts


def reflect(x: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fills what is missing at the end of a window with what came before it, in reverse (NumPy's `reflect`).

    Args:
      x: (T, ...), the frames of a window.
      valid: bool (T,), the first of them and no others.

    Returns:
      Both, whole; as they are where no frame is valid.
    """
    count = int(valid.sum())
    if not count:
        return x, valid
    period = max(1, 2 * count - 2)
    places = np.arange(len(x)) % period
    return x[np.where(places < count, places, period - places)], np.ones_like(valid)


class SlidingWindows(Pipeline):
    """Batches of all windows of some clips of a store, in order; nothing is augmented.

    Attributes:
      clips: int64 (W,), the catalog row of each window.
      starts: float64 (W,), seconds from the beginning of its clip.
      ends: float64 (W,).
    """

    def __init__(self, store: Store, config: Mapping[str, Any], rows: np.ndarray, *, cut: WindowSpec, batch_size: int):
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
