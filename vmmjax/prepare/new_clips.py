"""Clips that a run is to predict, as stores in memory, some at a time."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from vmmjax.errors import UserError

if TYPE_CHECKING:
    from vmmjax.prepare.memory_store import MemoryStore

SPLIT = 'predict'
"""The split of new clips."""


class Group(NamedTuple):
    """Some clips.

    Attributes:
      names: of all of them.
      store: of those that can be read, in order.
      places: int64 (rows,), which of the clips each row of the store is.
      errors: why the others cannot, by place.
      empty: why a clip that is in the store says nothing to the run, by place: it has none of its streams.
    """

    names: list[str]
    store: 'MemoryStore'
    places: np.ndarray
    errors: Mapping[int, UserError]
    empty: Mapping[int, UserError]


def in_groups(recorded: Mapping[str, Any], clips: Sequence[Any] | Mapping[str, Any], size: int) -> Iterator[Group]:
    """Reads clips.

    Args:
      recorded: what a run has written down of its store, see `pipeline.inputs`.
      clips: paths, or clips of `sources.clip.of_file`; or arrays by modality, as an `ArrayStore` takes them, which are
        one group.
      size: clips of a group; the next one is read while the caller is busy.
    """
    # Both need packages that a training does not.
    if isinstance(clips, Mapping):
        from vmmjax.prepare.array_store import ArrayStore
        from vmmjax.prepare.memory_store import absent

        rates = {name: recorded['columns'][name]['rate'] for name in clips if name in recorded['columns']}
        arrays = ArrayStore({SPLIT: clips}, rates, vocabularies={
            name: text['vocabulary'] for name, text in recorded['texts'].items()})
        for name, record in recorded['columns'].items():
            if name not in arrays.columns:
                arrays.columns[name] = absent(name, record['kind'], record['rate'], tuple(record['shape']), len(arrays))
        yield Group([arrays.clip(row) for row in range(len(arrays))], arrays, np.arange(len(arrays)), {}, {})
        return
    from vmmjax.prepare.file_store import FileStore
    from vmmjax.prepare.sources.clip import Clip, of_file

    given = [clip if isinstance(clip, Clip) else of_file(clip) for clip in clips]
    groups = [given[first:first + size] for first in range(0, len(given), size)]
    with ThreadPoolExecutor(1) as pool:
        following = [pool.submit(FileStore, recorded, group) for group in groups[:1]]
        for place, group in enumerate(groups):
            store = following.pop().result()
            following += [pool.submit(FileStore, recorded, after) for after in groups[place + 1:place + 2]]
            yield Group([clip.id for clip in group], store, store.places, store.errors,
                        {int(store.places[row]): error for row, error in store.empty.items()})
