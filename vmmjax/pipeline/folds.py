"""Cross-validation: a store whose splits are made of the folds that its catalog names."""

import copy
from collections import defaultdict

import numpy as np

from vmmjax.errors import UserError
from vmmjax.store.store import Store

_COLUMN = 'fold'
_GROUP = 'group'


def folded(store: Store, fold: int | None, validates: bool = True) -> Store:
    """The store with the splits of one turn of cross-validation.

    The clips of the fold are `test`, those of the next one (after the last, the first) are `validation` and all
    others are `train`, whatever split the catalog gives them. Published cross-validations train on all other folds:
    where nothing is chosen by its validation, none is needed.

    Args:
      store: stays as it is.
      fold: a value of the catalog column `fold`; None for the catalog's own splits.
      validates: whether the next fold validates; else it trains, too, and there is no `validation`.

    Raises:
      UserError: where the catalog has no such column or fold, too few of them or a clip without one, or where
        a group (column `group`) has clips in several folds: a model would be tested on what it was trained on.
    """
    if fold is None:
        return store
    values = store.values(_COLUMN)
    folds = _folds(store, values, 3 if validates else 2)
    if fold not in folds:
        raise UserError(f'data.fold is {fold}, but the catalog of the store {store.name} has the folds '
                        f'{", ".join(map(str, folds))}; choose one of them.')
    _check_groups(store, values)
    of = {'validation': folds[(folds.index(fold) + 1) % len(folds)]} if validates else {}
    of['test'] = fold
    numbers = values.astype(np.int64)
    made = copy.copy(store)
    made.splits = {'train': np.flatnonzero(~np.isin(numbers, list(of.values())))}
    made.splits |= {split: np.flatnonzero(numbers == number) for split, number in of.items()}
    return made


def _folds(store: Store, values: np.ndarray, fewest: int) -> list[int]:
    for row, value in enumerate(values.tolist()):
        if not value.isdecimal():
            raise UserError(f'The clip {store.clip(row)!r} of the store {store.name} has the fold {value!r}, which is '
                            f'no number; give every clip of the manifest one and prepare a new store.')
    folds = sorted({int(value) for value in values.tolist()})
    if len(folds) < fewest:
        use = 'test, to validate and to train' if fewest == 3 else 'test and to train'
        raise UserError(f'The catalog of the store {store.name} has {len(folds)} folds; to {use} on different ones, '
                        f'{fewest} are needed.')
    return folds


def _check_groups(store: Store, values: np.ndarray) -> None:
    """Checks that no group lies in several folds."""
    if not store.has_values(_GROUP):
        return
    places: dict[str, set[str]] = defaultdict(set)
    for group, value in zip(store.values(_GROUP).tolist(), values.tolist(), strict=True):
        if group:
            places[group].add(value)
    for group, found in places.items():
        if len(found) > 1:
            raise UserError(f'The group {group!r} of the store {store.name} has clips in the folds '
                            f'{", ".join(sorted(found))}, so that a model would be tested on what it was trained on; '
                            f'put each group into one fold of the manifest and prepare a new store.')
