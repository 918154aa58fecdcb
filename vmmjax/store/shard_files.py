"""Records in the shards of a column: ArrayRecord files, here or on a remote path."""

import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from array_record.python import array_record_data_source

if TYPE_CHECKING:
    from vmmjax.store.remote import Mirror

_COPIES = 8  # Shards that a call copies from a remote path at a time.


@dataclasses.dataclass(frozen=True)
class ShardFiles:
    """`column.Records` in files of this machine.

    Attributes:
      files: the shards in order.
      counts: the records in each of them.
    """

    files: tuple[Path, ...]
    counts: tuple[int, ...]

    @functools.cached_property
    def _reader(self) -> array_record_data_source.ArrayRecordDataSource:
        return array_record_data_source.ArrayRecordDataSource([str(file) for file in self.files])

    def read(self, indices: np.ndarray) -> list[bytes]:
        """See `Records`."""
        return list(self._reader.__getitems__(indices.tolist()))

    def place(self, record: int) -> str:
        """The path of the shard that holds a record."""
        return str(self.files[int(np.searchsorted(np.cumsum(self.counts), record, side='right'))])


@dataclasses.dataclass(frozen=True)
class MirroredShards(ShardFiles):
    """Shards that are copied when a record of theirs is read.

    Attributes:
      files: where they are once they are copied.
      counts: the records in each of them.
      mirror: copies them.
    """

    mirror: 'Mirror'

    def read(self, indices: np.ndarray) -> list[bytes]:
        """See `Records`; several shards are copied at a time."""
        ends = np.cumsum(self.counts)
        shards = np.searchsorted(ends, indices, side='right')
        found = [b''] * len(indices)

        def read(shard: int) -> None:
            places = np.flatnonzero(shards == shard)
            first = ends[shard] - self.counts[shard]
            records = self.mirror.records(self.files[shard], (indices[places] - first).tolist())
            for place, record in zip(places, records, strict=True):
                found[place] = record

        with ThreadPoolExecutor(_COPIES) as pool:
            list(pool.map(read, np.unique(shards)))
        return found
