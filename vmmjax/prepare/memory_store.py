"""A store in memory: filled with clips instead of read from a folder."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.prepare import records
from vmmjax.store.catalog import Catalog, of_rows
from vmmjax.store.column import Column, Consecutive, InMemory, Records
from vmmjax.store.store import Store


class ColumnInMemory:
    """Collects the clips of a column, in catalog order, as the records that a store holds."""

    def __init__(self, name: str, kind: str, rate: float, shape: tuple[int, ...], *,
                 options: Mapping[str, Any] | None = None, builder: str = ''):
        """Takes what is the same for all clips, see `store.column.Column`."""
        self._name, self._kind, self._rate, self._shape = name, kind, rate, shape
        self._options, self._builder = options, builder
        self._chunk = records.chunk_frames(kind, rate)
        self._sources: list[Records] = []
        self._counts: list[int] = []
        self._lengths: list[int] = []
        self._sizes: list[tuple[int, int]] = []

    def add(self, frames: list[bytes] | np.ndarray, size: tuple[int, int]) -> None:
        """Adds a clip.

        Args:
          frames: encoded pictures, or float32 (T, *shape); none of a clip that lacks the modality.
          size: height and width of its pictures, zeros where there are none.
        """
        made = list(records.of_clip(frames, len(self._counts), self._chunk))
        self._sources.append(InMemory(made, f'The column {self._name} of the store in memory'))
        self._counts.append(len(made))
        self._lengths.append(len(frames))
        self._sizes.append(size)

    def add_source(self, source: Records, length: int, size: tuple[int, int]) -> None:
        """Adds a clip of `length` frames, more than none, whose records are elsewhere; for `size` see `add`."""
        self._sources.append(source)
        self._counts.append(-(-length // self._chunk))
        self._lengths.append(length)
        self._sizes.append(size)

    def finished(self) -> Column:
        """The column."""
        offsets = np.cumsum([0, *self._counts], dtype=np.int64)
        return Column(
            name=self._name, kind=self._kind, rate=self._rate, chunk=self._chunk, shape=self._shape,
            lengths=np.array(self._lengths, np.int32), offsets=offsets,
            sizes=np.array(self._sizes, np.int32).reshape(-1, 2), source=Consecutive(self._sources, offsets),
            options=self._options, builder=self._builder)


def absent(name: str, kind: str, rate: float, shape: tuple[int, ...], rows: int) -> Column:
    """A column of a modality that no clip has, see `store.column.Column`."""
    column = ColumnInMemory(name, kind, rate, shape)
    for _ in range(rows):
        column.add([], (0, 0))
    return column.finished()


class MemoryStore(Store):
    """A store that is no folder."""

    def __init__(self, name: str, catalog: Catalog, columns: Sequence[Column], *, content: str = '',
                 vocabularies: Mapping[str, Sequence[str]] | None = None):
        """Takes the parts.

        Args:
          name: for messages.
          catalog: the clips.
          columns: in its order.
          content: what makes the store this one beside its catalog, for the fingerprint.
          vocabularies: see `Store`.
        """
        self.name, self.path, self.catalog = name, Path(), catalog
        self.splits = dict(catalog.splits)
        self.fingerprint = hashlib.sha256((json.dumps(catalog.columns) + content).encode()).hexdigest()
        self.durations = np.array(catalog.columns['duration'], np.float64)
        self.columns = {column.name: column for column in columns}
        self.vocabularies = vocabularies or {}

    def column(self, name: str) -> Column:
        """A column.

        Raises:
          UserError: if there is none.
        """
        if name not in self.columns:
            raise UserError(f'The store {self.name} has no column {name!r}: {did_you_mean(name, self.columns)}.')
        return self.columns[name]


def catalog_alone(name: str, catalogs: Sequence[Catalog]) -> MemoryStore:
    """A store without columns.

    Args:
      name: for messages.
      catalogs: of its clips, with the same catalog columns, behind each other and numbered anew.
    """
    columns = {column: [text for each in catalogs for text in each.columns[column]] for column in catalogs[0].columns}
    columns['row'] = [str(row) for row in range(len(columns['row']))]
    return MemoryStore(name, of_rows(list(columns), list(zip(*columns.values(), strict=True))), [])
