"""Frames of single clips as a store holds them, for pages and audits; training reads them in batches, see `streams`."""

import contextlib
from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from vmmjax.errors import UserError
from vmmjax.store import records
from vmmjax.store.column import Column
from vmmjax.store.store import Store


@contextlib.contextmanager
def damage(store: Store, column: Column, row: int) -> Iterator[None]:
    """Makes a `UserError` of whatever a damaged record of a clip raises."""
    try:
        yield
    except (ValueError, IndexError, RuntimeError, OSError, cv2.error) as error:
        raise UserError(f'The column {column.name} of the store {store.name} is damaged at the clip '
                        f'{store.clip(row)!r} ({error}); `vmmjax prepare --store={store.name} --verify` names the '
                        f'shard.') from error


def pictures(column: Column, row: int, wanted: Sequence[int]) -> list[np.ndarray | None]:
    """Frames of a column of kind `picture` or `flow`.

    Args:
      column: of the store.
      row: of the catalog.
      wanted: frame numbers of the clip.

    Returns:
      For each uint8 (H, W, 3), RGB, or uint8 (H, W, 2), codes of motion; None past the clip's end.

    Raises:
      ValueError: for a damaged record; see `damage`.
    """
    here = [i for i in wanted if i < column.lengths[row]]
    chunks = sorted({i // column.chunk for i in here})
    found = dict(zip(chunks, column.records(column.offsets[row] + np.array(chunks, np.int64)), strict=True))
    out: list[np.ndarray | None] = []
    for i in wanted:
        if i not in here:
            out.append(None)
            continue
        encoded = np.frombuffer(records.pictures(found[i // column.chunk])[i % column.chunk], np.uint8)
        picture = cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB if column.kind == 'picture' else cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise ValueError('a picture cannot be decoded')
        out.append(picture if column.kind == 'picture' else np.stack(np.split(picture, 2, axis=1), axis=-1))
    return out


def array(column: Column, row: int, frames: int) -> np.ndarray:
    """The first frames of a clip in a column of kind `array`, float32 (at most `frames`, *shape).

    Raises:
      ValueError: for a damaged record; see `damage`.
    """
    count = min(frames, int(column.lengths[row]))
    first = int(column.offsets[row])
    parts = column.records(np.arange(first, first - (-count // column.chunk)))
    none = np.zeros((0, *column.shape), np.float32)
    return np.concatenate([none, *(records.numbers(part, column.shape) for part in parts)])[:count]
