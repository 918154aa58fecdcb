"""Reads records of a column, and says which of them are damaged."""

from collections.abc import Sequence

import numpy as np

from vmmjax.data.store import Column
from vmmjax.errors import UserError


class DamagedRecord(UserError):
    """A record that was damaged after the store was made; the message names its shard and row."""


def damaged(column: Column, row: int, record: int, reason: object) -> DamagedRecord:
    """The error for a record of a catalog row."""
    return DamagedRecord(
        f'{column.shard(record)} is damaged: the record of row {row} ({reason}). Find what else is with '
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
