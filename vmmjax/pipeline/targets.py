"""The targets of clips: values of catalog columns as numbers, one class a kind of target.

Each has `classes`, the names of what a model's head answers to, `specs`, shape and dtype of every batch key of a clip,
and `of`, their values for a batch.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.store.catalog import JOIN

if TYPE_CHECKING:
    from vmmjax.store.store import Store

Specs = dict[str, tuple[tuple[int, ...], np.dtype]]
FLOATS = np.dtype(np.float32)


class WindowBatch(NamedTuple):
    """The clips of a batch, B entries each, as far as targets depend on them.

    Attributes:
      rows: int64, catalog rows.
      real: bool, False for padding.
      mirrors: bool, which clips are mirrored.
      starts: float64, seconds in the clip, of the windows.
      seconds: float64, lengths of the windows.
    """

    rows: np.ndarray
    real: np.ndarray
    mirrors: np.ndarray
    starts: np.ndarray
    seconds: np.ndarray

    @classmethod
    def whole(cls, rows: np.ndarray, seconds: np.ndarray) -> 'WindowBatch':
        """Clips of those rows and lengths as they are."""
        return cls(rows, np.ones(len(rows), bool), np.zeros(len(rows), bool), np.zeros(len(rows)), seconds)


class Targets(Protocol):
    """Targets of one kind."""

    classes: Any
    specs: Specs

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """The arrays of a batch by key, as `specs` says with an axis for the clips before."""
        ...


class Classes:
    """One class of several, for one column or for several at once: `target/<column>` int32, -1 where there is none.

    Attributes:
      classes: sorted values; a target is an index into them. Of several columns a dict by column.
    """

    def __init__(self, store: 'Store', target: str | Sequence[str], flip_pairs: Sequence[tuple[str, str]] = (),
                 classes: Any = None):
        """Reads the catalog.

        Args:
          store: the store.
          target: column or columns of its catalog.
          flip_pairs: pairs of values that a mirror image swaps.
          classes: those of a run, as the attribute has them; None for those of the store.

        Raises:
          UserError: for a column or a value that is not there, or that the run does not know.
        """
        columns = (target,) if isinstance(target, str) else tuple(target)
        if classes is None:
            names = {column: store.classes(column) for column in columns}
        else:
            names = {target: classes} if isinstance(target, str) else classes
        self.classes: Any = names[target] if isinstance(target, str) else names
        self.specs: Specs = {f'target/{column}': ((), np.dtype(np.int32)) for column in columns}
        self._targets = {column: codes_of(store, column, names[column]) for column in columns}
        # The last is that of -1, no target.
        self._mirrored = {column: np.append(np.arange(len(names[column])), -1) for column in columns}
        for pair in flip_pairs:
            # That of the column whose values they are; with one column it is that.
            column = next((name for name in columns if pair[0] in names[name]), columns[0])
            for name in pair:
                if name not in names[column]:
                    raise UserError(f'data.augment.flip_pairs names {name!r}, which is no value of {column!r}: '
                                    f'{did_you_mean(name, names[column])}.')
            left, right = map(names[column].index, pair)
            self._mirrored[column][[left, right]] = right, left

    def __str__(self) -> str:
        of = self.classes if isinstance(self.classes, Mapping) else {next(iter(self._targets)): self.classes}
        return ', '.join(f'{column}: {len(names)} classes' for column, names in of.items())

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        found = {}
        for column, codes in self._targets.items():
            targets = codes[windows.rows]
            targets = np.where(windows.mirrors, self._mirrored[column][targets], targets)
            found[f'target/{column}'] = np.where(windows.real, targets, -1).astype(np.int32)
        return found


class Names:
    """Any number of names a clip, joined by `;` in one column: `target/<column>` float32 (C,), 1 where it has one.

    A clip whose column is empty is not labelled: NaN.

    Attributes:
      classes: the C names, sorted.
    """

    def __init__(self, store: 'Store', target: str, classes: Sequence[str] | None = None):
        """Reads the catalog.

        Args:
          store: the store.
          target: column of its catalog.
          classes: the names that a run knows; None for those of the store.

        Raises:
          UserError: for a column that is not there, or holds nothing, or a name that the run does not know.
        """
        values = [[name.strip() for name in value.split(JOIN) if name.strip()]
                  for value in store.values(target).tolist()]
        self.classes: Any = sorted({name for names in values for name in names}) if classes is None else list(classes)
        if not self.classes:
            raise UserError(f'The column {target!r} of the store {store.name} is empty; name another as data.target.')
        self._key, places = f'target/{target}', {name: place for place, name in enumerate(self.classes)}
        self.specs: Specs = {self._key: ((len(self.classes),), FLOATS)}
        self._targets = np.zeros((len(values), len(self.classes)), np.float32)
        for row, names in enumerate(values):
            self._targets[row, [_place(store, target, row, name, places) for name in names]] = 1
            if not names:
                self._targets[row] = np.nan

    def __str__(self) -> str:
        return f'{self._key.removeprefix("target/")}: any of {len(self.classes)} names'

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        return {self._key: np.where(windows.real[:, None], self._targets[windows.rows], np.float32(np.nan))}


class Numbers:
    """A number a column: `target/<column>` float32, NaN where there is none.

    Attributes:
      classes: the columns.
    """

    def __init__(self, store: 'Store', target: str | Sequence[str]):
        """Reads the catalog.

        Raises:
          UserError: for a column that is not there, or a value that is no number.
        """
        columns = (target,) if isinstance(target, str) else tuple(target)
        self.classes: Any = list(columns)
        self.specs: Specs = {f'target/{column}': ((), FLOATS) for column in columns}
        self._targets = {column: numbers_of(store, column) for column in columns}

    def __str__(self) -> str:
        return ', '.join(f'{column}: a number' for column in self._targets)

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        return {f'target/{column}': np.where(windows.real, values[windows.rows], np.nan).astype(np.float32)
                for column, values in self._targets.items()}


class NoTargets:
    """No targets: a clip's streams are each other's.

    Attributes:
      classes: empty.
    """

    def __init__(self) -> None:
        """Reads nothing."""
        self.classes: Any = []
        self.specs: Specs = {}

    def __str__(self) -> str:
        return 'none'

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        return {}


class WindowTimes:
    """Of clips whose targets are not known where each window lies, in seconds.

    `target/window` float32 (2,) are its start in the clip and its length, as `WindowBatch` has them, and `target/end`
    float32 () is where the clip ends.

    Attributes:
      classes: empty.
    """

    def __init__(self, store: 'Store') -> None:
        """Takes the store of the clips."""
        self._ends = store.durations
        self.classes: Any = []
        self.specs: Specs = {'target/window': ((2,), FLOATS), 'target/end': ((), FLOATS)}

    def __str__(self) -> str:
        return 'none'

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        return {'target/window': np.stack([windows.starts, windows.seconds], 1).astype(np.float32),
                'target/end': self._ends[windows.rows].astype(np.float32)}


def of_split(targets: Targets, store: 'Store', split: str) -> dict[str, np.ndarray]:
    """The targets of a split's clips as they are, (rows, ...) by name."""
    rows = np.asarray(store.rows(split))
    found = targets.of(WindowBatch.whole(rows, store.durations[rows]))
    return {key.removeprefix('target/'): values for key, values in found.items()}


def codes_of(store: 'Store', column: str, classes: Sequence[str]) -> np.ndarray:
    """Every row's place in the classes, -1 where it has no value."""
    codes = {value: code for code, value in enumerate(classes)} | {'': -1}
    values = store.values(column).tolist()
    return np.array([_place(store, column, row, value, codes) for row, value in enumerate(values)], np.int64)


def _place(store: 'Store', column: str, row: int, value: str, places: Mapping[str, int]) -> int:
    if value not in places:
        raise UserError(f'The clip {store.clip(row)!r} of {store.name} has {column!r} = {value!r}, which is no class '
                        f'of the run: {did_you_mean(value, filter(None, places))}. Leave it empty where none is right.')
    return places[value]


def numbers_of(store: 'Store', column: str) -> np.ndarray:
    """Every row's number, NaN where it has none."""
    values = store.values(column).tolist()
    return np.array([number(store, column, row, value) if value else np.nan for row, value in enumerate(values)])


def number(store: 'Store', column: str, row: int, text: str) -> float:
    """The number that a text is; a UserError names the clip where it is none."""
    try:
        found = float(text)
    except ValueError:
        found = np.inf
    if not np.isfinite(found):
        raise UserError(f'The clip {store.clip(row)!r} of the store {store.name} has {column!r} = {text!r}, '
                        f'which is no number; mend it in the manifest and prepare a new store.')
    return found
