"""A store with the training clips of others beside its own, so that training on new clips goes over old ones again."""

import copy
import dataclasses
from collections.abc import Sequence

import numpy as np

from vmmjax.errors import UserError
from vmmjax.store.catalog import Catalog
from vmmjax.store.column import Column, Consecutive
from vmmjax.store.store import Store

SOURCE = 'source'
"""The catalog column that names the store of each clip, where none of the catalogs has one of its own."""


def joined(store: Store, others: Sequence[tuple[Store, float]]) -> Store:
    """A store with others behind it.

    Name, fingerprint and rows of the store stay what they are, and so do its splits, but that `train` also holds the
    training clips of the others. A catalog column that one of them lacks is empty there; a modality that another store
    lacks is absent there.

    Args:
      store: new clips.
      others: further stores, each with the share of its clips in every training batch, see `Store.shares`.

    Raises:
      UserError: for shares that are not above 0 or leave nothing to the store, and for columns of one name that hold
        different things.
    """
    shares = [share for _, share in others]
    if not shares:
        return store
    if min(shares) <= 0 or sum(shares) >= 1:
        raise UserError(f'data.replay has the shares {", ".join(f"{share:g}" for share in shares)}; give each above 0, '
                        f'and all together below 1: the rest is the share of {store.name}.')
    stores = [store, *(other for other, _ in others)]
    starts = np.cumsum([0, *map(len, stores)])
    made = copy.copy(store)
    made.catalog = Catalog(dict(store.catalog.splits), _catalog(stores))
    trained = [np.asarray(each.rows('train'), np.int64) + start for each, start in zip(stores, starts, strict=False)]
    made.splits = {**store.splits, 'train': np.concatenate(trained)}
    made.shares = list(zip(trained, [1 - sum(shares), *shares], strict=True))
    made.durations = np.concatenate([each.durations for each in stores])
    made.columns = {name: _column(name, stores) for name in store.columns}
    made.replayed = [other.fingerprint for other, _ in others]
    return made


def _catalog(stores: Sequence[Store]) -> dict[str, list[str]]:
    names = dict.fromkeys(name for store in stores for name in store.catalog.columns)
    columns = {name: [value for store in stores
                      for value in store.catalog.columns.get(name, [''] * len(store))] for name in names}
    columns.setdefault(SOURCE, [store.name for store in stores for _ in range(len(store))])
    return {**columns, 'row': [str(row) for row in range(len(columns['row']))]}


def _column(name: str, stores: Sequence[Store]) -> Column:
    first = stores[0].columns[name]
    found: list[Column] = []
    for store in stores:
        column = store.columns.get(name)
        if column is None:
            column = dataclasses.replace(
                first, lengths=np.zeros(len(store), np.int32), offsets=np.zeros(len(store) + 1, np.int64),
                sizes=np.zeros((len(store), 2), np.int32))
        for key in ('kind', 'rate', 'chunk', 'shape'):
            if (one := getattr(first, key)) != (other := getattr(column, key)):
                raise UserError(f'The column {name!r} has {key} {one} in the store {stores[0].name} and {other} in '
                                f'{store.name}, which data.replay names; prepare both alike.')
        found.append(column)
    starts = np.cumsum([0, *(int(column.offsets[-1]) for column in found)])
    offsets = [column.offsets[:-1] + start for column, start in zip(found, starts, strict=False)]
    return dataclasses.replace(
        first, lengths=np.concatenate([column.lengths for column in found]),
        offsets=np.concatenate([*offsets, starts[-1:]]), sizes=np.concatenate([column.sizes for column in found]),
        source=Consecutive([column.source for column in found], starts))
