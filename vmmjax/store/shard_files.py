"""Records in the shards of a column: ArrayRecord files, here or on a remote path."""

import dataclasses
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from array_record.python.array_record_module import ArrayRecordReader

if TYPE_CHECKING:
    from vmmjax.store.remote import Mirror

_COPIES = 8  # Shards that a call copies from a remote path at a time.
_READS = 16  # Shards of this machine that are read at a time.


def open_shard(file: Path) -> ArrayRecordReader:
    """A reader of single records, for several threads; what is wrong with a file is said by reading it, not here."""
    return ArrayRecordReader(str(file), options='readahead_buffer_size:0', file_reader_buffer_size=1 << 15)


@dataclasses.dataclass(frozen=True)
class ShardFiles:
    """`column.Records` in files of this machine.

    Attributes:
      files: the shards in order.
      counts: the records in each of them.
    """

    files: tuple[Path, ...]
    counts: tuple[int, ...]

    def read(self, indices: np.ndarray) -> list[bytes]:
        """See `Records`; several shards are read at a time, and of each several records."""
        ends = np.cumsum(self.counts)
        shards = np.searchsorted(ends, indices, side='right')
        wanted = np.unique(shards).tolist()
        places = [np.flatnonzero(shards == shard) for shard in wanted]
        positions = [(indices[mine] - ends[shard] + self.counts[shard]).tolist()
                     for shard, mine in zip(wanted, places, strict=True)]
        parts = (self._pool.map(self._read, wanted, positions) if len(wanted) > 1
                 else map(self._read, wanted, positions))
        found = [b''] * len(indices)
        for mine, part in zip(places, parts, strict=True):
            for place, record in zip(mine.tolist(), part, strict=True):
                found[place] = record
        return found

    def place(self, record: int) -> str:
        """The path of the shard that holds a record."""
        return str(self.files[int(np.searchsorted(np.cumsum(self.counts), record, side='right'))])

    @functools.cached_property
    def _readers(self) -> dict[int, ArrayRecordReader]:
        """Of the shards that were read, which stay open."""
        return {}

    @functools.cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Threads that stay: ArrayRecord's own data source begins and ends some at every call."""
        return ThreadPoolExecutor(_READS)

    def _read(self, shard: int, positions: list[int]) -> list[bytes]:
        reader = self._readers.get(shard)
        if reader is None:
            reader = open_shard(self.files[shard])
            reader = self._readers.setdefault(shard, reader)
        return list(reader.read(positions))


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
