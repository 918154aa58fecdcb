"""Frames of a record, without copying it.

A record is a serialised `tf.train.Example`; its lists are looked up by walking over the lengths that protobuf writes
before each. Parsing it in a library would copy a second of pictures where one is wanted.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from vmmjax.errors import UserError
from vmmjax.store.column import Column

_LENGTH_DELIMITED = 2  # The only kind of field an Example has.
_BYTES, _FLOATS = 1, 2  # Fields of a Feature.


def pictures(record: bytes) -> list[memoryview]:
    """The encoded pictures of a record of kind `picture` or `flow`.

    Raises:
      ValueError: for bytes that are no such record.
    """
    view = memoryview(record)
    return [view[first:end] for _, first, end in _fields(view, *_frames(view, _BYTES))]


def numbers(record: bytes, shape: tuple[int, ...]) -> np.ndarray:
    """The frames of a record of kind `array`, float32 (N, *shape); read-only.

    Raises:
      ValueError: for bytes that are no such record.
    """
    view = memoryview(record)
    packed = [view[first:end] for _, first, end in _fields(view, *_frames(view, _FLOATS))]
    return np.frombuffer(packed[0] if packed else b'', '<f4').reshape(-1, *shape)


def _frames(view: memoryview, kind: int) -> tuple[int, int]:
    """Where the list of the feature `frames` is."""
    _, at, end = _field(view, 0, len(view))  # Features.
    while at < end:  # Entries of the map from name to Feature, in each of them first the name.
        _, first, at = _field(view, at, end)
        _, first, stop = _field(view, first, at)
        if view[first:stop] == b'frames':
            _, first, stop = _field(view, stop, at)
            if first == stop:
                return 0, 0  # Protobuf leaves an empty list out.
            number, first, stop = _field(view, first, stop)
            return (first, stop) if number == kind else (0, 0)
    raise ValueError('it holds no frames')


def _fields(view: memoryview, first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, first byte and end of each field of a message."""
    while first < end:
        field = _field(view, first, end)
        yield field
        first = field[2]


def _field(view: memoryview, first: int, end: int) -> tuple[int, int, int]:
    """Number, first byte and end of the field that begins at a byte of a message."""
    if first + 2 > end:
        raise ValueError('it is cut off')
    tag, size, shift = view[first], view[first + 1], 0
    if tag & 7 != _LENGTH_DELIMITED:
        raise ValueError('it is no tf.train.Example')
    first += 2
    if size > 127:
        size &= 127
        while True:
            shift += 7
            byte = view[first]
            first += 1
            size |= (byte & 127) << shift
            if byte < 128:
                break
    if first + size > end:
        raise ValueError('it is cut off')
    return tag >> 3, first, first + size


class DamagedRecord(UserError):
    """A record that was damaged after the store was made; the message names its place and row."""


def damaged(column: Column, row: int, record: int, reason: object) -> DamagedRecord:
    """The error for a record of a catalog row."""
    return DamagedRecord(
        f'{column.source.place(record)} is damaged: the record of row {row} ({reason}). Find what else is with '
        f'`vmmjax prepare --verify`, renew it with `vmmjax prepare`, or set data.on_damage=skip to go on without such '
        f'clips.')


def read(column: Column, rows: np.ndarray, wanted: Sequence[np.ndarray]) -> list[dict[int, bytes] | DamagedRecord]:
    """Reads the records that each of several clips needs, all at once.

    Args:
      column: where they are.
      rows: int64 (B,), catalog rows.
      wanted: for each, the numbers of its records, in order.

    Returns:
      For each the records by number, or why they cannot be read.
    """
    numbers = np.unique(np.concatenate(wanted))
    found: dict[int, bytes | Exception]
    try:
        found = dict(zip(numbers.tolist(), column.records(numbers), strict=True))
    except (OSError, RuntimeError):  # ArrayRecord's; it does not say which.
        found = {number: _one(column, number) for number in numbers.tolist()}
    out: list[dict[int, bytes] | DamagedRecord] = []
    for row, mine in zip(rows.tolist(), wanted, strict=True):
        there: dict[int, bytes] = {}
        for number in mine.tolist():
            record = found[number]
            if isinstance(record, Exception):
                out.append(damaged(column, row, number, record))
                break
            there[number] = record
        else:
            out.append(there)
    return out


def _one(column: Column, number: int) -> bytes | Exception:
    try:
        return column.records(np.array([number]))[0]
    except (OSError, RuntimeError) as error:
        return error
