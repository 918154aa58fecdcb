"""The records of a long clip, made while they are read."""

import threading
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np

from vmmjax.errors import UserError
from vmmjax.media.limits import Reader
from vmmjax.media.probe import MediaError
from vmmjax.prepare import records, shards
from vmmjax.prepare.columns import ColumnBuilder, stored
from vmmjax.store.catalog import ClipInfo

# Of what was asked for at once: batches overlap, several streams may read a column, and two batches are made at a time.
_KEPT = 4
_KEPT_BYTES = 64 << 20


class Forward:
    """What a column makes of a clip, as `store.column.Records`, without the clip in memory.

    The file is read in its order, by a process that belongs to this object. The records read last are kept, four times
    as many as were ever asked for at once and 64 MiB at most; for one before them the file is read from its beginning
    again. So windows that slide forward read the file once.

    Attributes:
      length: frames of the clip.
      size: height and width of the pictures, zeros of an array.
    """

    def __init__(self, column: ColumnBuilder, path: Path, clip: ClipInfo, row: int, length: int):
        """Reads the first record.

        Args:
          column: what is made of the clip.
          path: its file.
          clip: its row of the catalog.
          row: the number of that row.
          length: frames that there will be.

        Raises:
          UserError: where the file cannot be decoded.
        """
        self._column, self._path, self._clip, self._row = column, path, clip, row
        self._lock, self._span = threading.Lock(), 1
        self.length, self.size = length, (0, 0)
        self._begin()
        self._take()

    def read(self, indices: np.ndarray) -> list[bytes]:
        """See `Records`.

        Raises:
          UserError: where the file cannot be decoded further.
        """
        with self._lock:
            wanted = np.unique(indices)
            self._span = max(self._span, int(wanted[-1] - wanted[0]) + 1)
            if wanted[0] < self._next - len(self._held):
                self._begin()
            found = {}
            for index in wanted.tolist():
                while index >= self._next:
                    self._take()
                found[index] = self._held[index]
            return [found[index] for index in indices.tolist()]

    def place(self, record: int) -> str:
        """See `Records`."""
        return f'The {self._column.name} of {self._path}'

    def _begin(self) -> None:
        """Goes to the beginning of the file."""
        reader = Reader()  # The process of the one before ends with it.
        self._parts = shards.parts(self._column, reader.items(
            self._path, stored, (self._column, self._path, self._clip)))
        self._held: dict[int, bytes] = {}
        self._next = self._bytes = 0

    def _take(self) -> None:
        """Reads one more record, and drops what is kept no longer."""
        try:
            part, self.size = next(self._parts)
        except StopIteration:
            raise MediaError(self._path, f'its {self._column.name} ends before its length says') from None
        except BrokenProcessPool as error:
            raise UserError(f'The process that reads {self._path} was killed (out of memory?); run it again.'
                            ) from error
        self._held[self._next] = records.serialize(part, self._row, self._next)
        self._bytes += len(self._held[self._next])
        self._next += 1
        while len(self._held) > 1 and (len(self._held) > _KEPT * self._span or self._bytes > _KEPT_BYTES):
            self._bytes -= len(self._held.pop(next(iter(self._held))))
