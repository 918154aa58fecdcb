"""Targets over time: when something happens."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.pipeline.targets import FLOATS, Specs, WindowBatch, number, numbers_of
from vmmjax.store.catalog import JOIN

if TYPE_CHECKING:
    from vmmjax.store.store import Store


class Events:
    """When something happens: `target/events` float32 (M, 2), starts and ends in seconds in the window.

    M is the largest number of events of a clip; a clip with fewer has empty ones, from 0 to 0. What is not labelled
    is NaN. `target/window` float32 (2,) is the window's start in the clip and its length, and `target/end` float32 ()
    where the clip ends, in seconds, or NaN.

    Attributes:
      classes: one name, of the event.
    """

    def __init__(self, store: 'Store', target: str | Sequence[str], positive: str, *, trained: bool = False):
        """Reads the catalog.

        Args:
          store: the store.
          target: two columns, the starts and the ends in seconds in the file (as the catalog's own `start` and
            `end`), of a clip with several events joined by `;`, empty for none; or one column that labels whole
            clips.
          positive: of one column the value that is the event; clips without a value are not labelled.
          trained: whether a model knows the event, so that no clip need have it.

        Raises:
          UserError: for a column or a value that is not there, or times that are none.
        """
        if isinstance(target, str):
            values = store.values(target)
            if not (trained or (values == positive).any()):
                raise UserError(f'config.task.positive is {positive!r}, which is no value of the column {target!r}: '
                                f'{did_you_mean(positive, store.classes(target))}.')
            name = f'{target} = {positive}'
            self._events = np.zeros((len(store), 1, 2))
            self._events[:, 0, 1] = np.where(values == positive, store.durations, 0)
            self._events[values == ''] = np.nan
        elif len(target) == 2:
            name = f'{target[0]} to {target[1]}'
            self._events = _times(store, *target)
        else:
            raise UserError(f'data.target is {tuple(target)}; events have a column of starts and one of ends, or one '
                            f'column that labels whole clips.')
        self.classes: Any = [name]
        self._ends = store.durations
        self.specs: Specs = {'target/events': (self._events.shape[1:], FLOATS), 'target/window': ((2,), FLOATS),
                             'target/end': ((), FLOATS)}

    def __str__(self) -> str:
        return f'{self.classes[0]}: events over time'

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        events = self._events[windows.rows] - windows.starts[:, None, None]
        known = windows.real & ~np.isnan(events[:, 0, 0])
        window = np.stack([windows.starts, windows.seconds], 1)
        return {'target/events': np.where(known[:, None, None], events, np.nan).astype(np.float32),
                'target/window': np.where(known[:, None], window, np.nan).astype(np.float32),
                'target/end': np.where(known, self._ends[windows.rows], np.nan).astype(np.float32)}


class Segments:
    """How important each moment of a clip is: `target/segments` float32 (M, 3), start, end and importance, 0 to 1.

    Times are in seconds in the window; what lies in no segment has the importance 0, and a clip with fewer than M has
    empty ones. `target/window` float32 (2,) is the window's start in the clip and its length, and `target/end` float32
    () where the clip ends, in seconds; NaN where a row is padding.

    Attributes:
      classes: one name.
    """

    def __init__(self, store: 'Store', target: Sequence[str]):
        """Reads the catalog.

        Args:
          store: the store.
          target: columns of starts, ends (seconds in the file) and, unless all are 1, importances; of a clip with
            several joined by `;`, empty for none.

        Raises:
          UserError: for a column that is not there, times that are none, or importances beyond 0 to 1 or of another
            number.
        """
        times = _times(store, target[0], target[1])
        importances = (times[..., 1] > times[..., 0]).astype(np.float64)
        for row, text in enumerate(store.values(target[2]).tolist() if len(target) > 2 else ()):
            found = [number(store, target[2], row, part) for part in text.split(JOIN) if part.strip()]
            count = len([part for part in store.values(target[0])[row].split(JOIN) if part.strip()])
            if len(found) != count or not all(0 <= value <= 1 for value in found):
                raise UserError(f'The clip {store.clip(row)!r} of the store {store.name} has {count} segments and '
                                f'{target[2]!r} = {text!r}; give each an importance from 0 to 1, and prepare a new '
                                f'store.')
            importances[row, :count] = found
        self._segments = np.concatenate([times, importances[..., None]], -1)
        self.classes: Any = ['importance']
        self._ends = store.durations
        self.specs: Specs = {'target/segments': (self._segments.shape[1:], FLOATS), 'target/window': ((2,), FLOATS),
                             'target/end': ((), FLOATS)}

    def __str__(self) -> str:
        return 'importance over time'

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        segments = self._segments[windows.rows].copy()
        segments[..., :2] -= windows.starts[:, None, None]
        window = np.stack([windows.starts, windows.seconds], 1)
        return {'target/segments': np.where(windows.real[:, None, None], segments, np.nan).astype(np.float32),
                'target/window': np.where(windows.real[:, None], window, np.nan).astype(np.float32),
                'target/end': np.where(windows.real, self._ends[windows.rows], np.nan).astype(np.float32)}


def _times(store: 'Store', start: str, end: str) -> np.ndarray:
    """Events in seconds in the clip, (rows, M, 2)."""
    found = []
    offsets = numbers_of(store, 'start')
    columns = [store.values(name).tolist() for name in (start, end)]
    for row, texts in enumerate(zip(*columns, strict=True)):
        starts, ends = ([number(store, name, row, part) - offsets[row] for part in text.split(JOIN) if part.strip()]
                        for name, text in zip((start, end), texts, strict=True))
        if len(starts) != len(ends) or any(first > last for first, last in zip(starts, ends, strict=True)):
            raise UserError(f'The clip {store.clip(row)!r} of the store {store.name} has the starts '
                            f'{texts[0]!r} and the ends {texts[1]!r}, which are no pairs; mend them in the manifest '
                            f'and prepare a new store.')
        found.append(list(zip(starts, ends, strict=True)))
    events = np.zeros((len(found), max(1, *map(len, found)), 2))
    for row, pairs in enumerate(found):
        events[row, :len(pairs)] = np.reshape(pairs, (-1, 2))
    return events
