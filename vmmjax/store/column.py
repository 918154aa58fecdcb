"""A column of a store, wherever its records are."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np


class Records(Protocol):
    """The records of a column, by number from 0 on: in shards on a disk, far away, in memory."""

    def read(self, indices: np.ndarray) -> list[bytes]:
        """Serialised `tf.train.Example`s of records, int64 (N,), N > 0; safe to call from several threads."""

    def place(self, record: int) -> str:
        """Where a record is, for messages."""


def shards_of(meta: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What `column.json` says of every shard, in the order of the catalog."""
    return [shard for shards in meta['splits'].values() for shard in shards]


@dataclasses.dataclass(frozen=True)
class InMemory:
    """Records in memory.

    Attributes:
      contents: of each.
      name: of where they are, for messages.
    """

    contents: Sequence[bytes]
    name: str

    def read(self, indices: np.ndarray) -> list[bytes]:
        """See `Records`."""
        return [self.contents[index] for index in indices.tolist()]

    def place(self, record: int) -> str:
        """See `Records`."""
        return self.name


@dataclasses.dataclass(frozen=True)
class Consecutive:
    """The records of several sources, one source after the other: of clips in places of their own, or of whole columns.

    Attributes:
      sources: in order; one without a record is never asked.
      offsets: int64 (sources + 1,); records offsets[k] to offsets[k + 1] - 1 are those of source k.
    """

    sources: Sequence[Records]
    offsets: np.ndarray

    def read(self, indices: np.ndarray) -> list[bytes]:
        """See `Records`."""
        which = np.searchsorted(self.offsets, indices, side='right') - 1
        found: dict[int, bytes] = {}
        for source in np.unique(which).tolist():
            mine = indices[which == source]
            found |= zip(mine.tolist(), self.sources[source].read(mine - self.offsets[source]), strict=True)
        return [found[index] for index in indices.tolist()]

    def place(self, record: int) -> str:
        """See `Records`."""
        source = int(np.searchsorted(self.offsets, record, side='right')) - 1
        return self.sources[source].place(record - int(self.offsets[source]))


@dataclasses.dataclass(frozen=True)
class Column:
    """One modality of every clip, in catalog order.

    Attributes:
      name: folder in the store.
      kind: `picture` (JPEG frames), `flow` (PNG frames) or `array` (float32 frames), see `prepare.columns`.
      rate: frames a second.
      chunk: frames of a full record.
      shape: shape of an `array` frame; empty for pictures.
      lengths: int32 (rows,), frames of each clip; 0 where it lacks the modality.
      offsets: int64 (rows + 1,); records offsets[r] to offsets[r + 1] - 1 are clip r's.
      sizes: int32 (rows, 2), height and width of each clip's pictures; zeros for arrays.
      source: the records.
      options: those that its builder made it with; None where it was not made from files.
      builder: the builder's class as `package.module:Name`; empty for the one of vmmjax with the column's name, and
        in stores of an older vmmjax, which did not record it.
      version: of what the builder makes with these options; 1 in stores of an older vmmjax.
    """

    name: str
    kind: str
    rate: float
    chunk: int
    shape: tuple[int, ...]
    lengths: np.ndarray
    offsets: np.ndarray
    sizes: np.ndarray
    source: Records
    options: Mapping[str, Any] | None = None
    builder: str = ''
    version: int = 1

    def records(self, indices: np.ndarray) -> list[bytes]:
        """Serialised `tf.train.Example`s by record number, int64 (N,); safe to call from several threads."""
        return self.source.read(indices) if len(indices) else []
