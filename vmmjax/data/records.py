"""Frames of a record, without copying it.

A record is a serialised `tf.train.Example`; its lists are looked up by walking over the lengths that protobuf writes
before each. Parsing it in a library would copy a second of pictures where one is wanted.
"""

from collections.abc import Iterator

import numpy as np

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
    for _, first, end in _fields(view, 0, len(view)):  # Features.
        for _, begin, stop in _fields(view, first, end):  # Entries of the map from name to Feature.
            entry = {field: (low, high) for field, low, high in _fields(view, begin, stop)}
            if bytes(view[slice(*entry[1])]) == b'frames':
                found = {field: (low, high) for field, low, high in _fields(view, *entry[2])}
                return found.get(kind, (0, 0))  # Protobuf leaves an empty list out.
    raise ValueError('it holds no frames')


def _fields(view: memoryview, first: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, first byte and end of each field of a message."""
    while first < end:
        tag = view[first]
        if tag & 7 != _LENGTH_DELIMITED:
            raise ValueError('it is no tf.train.Example')
        first += 1
        size = shift = 0
        while True:
            byte = view[first]
            first += 1
            size |= (byte & 127) << shift
            if byte < 128:
                break
            shift += 7
        if first + size > end:
            raise ValueError('it is cut off')
        yield tag >> 3, first, first + size
        first += size
