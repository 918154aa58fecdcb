"""The read side of a store: a catalog of clips and one column of ArrayRecord files a modality."""

import hashlib
import json
import os
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.store import catalog
from vmmjax.store.column import Column, shards_of
from vmmjax.store.shard_files import MirroredShards, ShardFiles

if TYPE_CHECKING:
    from vmmjax.store.remote import Mirror

FORMAT = 2
READABLE = (1, FORMAT)
"""Catalogs of format 1 lack `catalog.TRACK_ENDS`; such a store stays what it is when columns are added."""
RowIndices = range | np.ndarray
"""Catalog rows in ascending order: a range as a store was prepared, int64 (N,) where folds were chosen."""


class Store:
    """A folder written by `vmmjax prepare`, here or on a remote path.

    Attributes:
      name: its path as it was given, for messages.
      path: the folder; for a remote path one with what was copied of it, see `remote`.
      catalog: the clips.
      splits: rows of each split.
      fingerprint: SHA-256 of the catalog and `store.json`; it does not depend on the columns there are.
      columns: the finished columns by name.
      durations: float64 (rows,), seconds of each clip.
      vocabularies: the tokens of text streams, by the stream's name, where a run has recorded them; others are counted
        in the split `train`.
      shares: of a store of several, see `joined`: the training rows of each, and their share of every training batch.
      replayed: of a store of several the fingerprints of the others.
    """

    vocabularies: Mapping[str, Sequence[str]] = {}
    shares: Sequence[tuple[np.ndarray, float]] = ()
    replayed: Sequence[str] = ()

    def __init__(self, path: str | Path):
        """Opens a store.

        Args:
          path: a folder, or a remote path such as gs://bucket/store.

        Raises:
          UserError: if it is none, or one of another format.
        """
        self.name = str(path)
        mirror = _mirror(self.name) if is_remote(path) else None
        self.path = Path(path) if mirror is None else mirror.folder
        meta = _read_meta(self.path)
        self.catalog = catalog.read(self.path)
        self.splits: dict[str, RowIndices] = {name: range(*rows) for name, rows in meta['splits'].items()}
        self.fingerprint = hashlib.sha256(
            (self.path / 'catalog.csv').read_bytes() + (self.path / 'store.json').read_bytes()).hexdigest()
        self.durations = np.array(self.catalog.columns['duration'], np.float64)
        names = mirror.columns if mirror else [file.parent.name for file in sorted(self.path.glob('*/column.json'))]
        self.columns: dict[str, Column] = {name: _read_column(self.path / name, mirror) for name in names}

    def __len__(self) -> int:
        """Clips of all splits."""
        return len(self.catalog)

    def values(self, name: str) -> np.ndarray:
        """A catalog column, one text a row.

        Raises:
          UserError: if the catalog has no such column.
        """
        columns: Mapping[str, list[str]] = self.catalog.columns
        if name not in columns:
            raise UserError(f'The catalog of the store {self.name} has no column {name!r}: '
                            f'{did_you_mean(name, columns)}. Name one of them, or add it to the manifest and '
                            f'prepare a new store.')
        return np.array(columns[name], dtype=np.str_)

    def clip(self, row: int) -> str:
        """The id of a row's clip, by which a message names it."""
        return self.catalog.columns['id'][row]

    def classes(self, name: str) -> list[str]:
        """The sorted distinct values of a catalog column over all rows; empty ones are none."""
        return sorted(set(self.values(name).tolist()) - {''})

    def column(self, name: str) -> Column:
        """A finished column.

        Raises:
          UserError: if it was not prepared; it names the command that does.
        """
        if name not in self.columns:
            raise UserError(f'The store {self.name} has no column {name!r}: {did_you_mean(name, self.columns)}. '
                            f'Run `vmmjax prepare --source=... --store={self.name} --columns={name}` with the source '
                            f'the store was made from.')
        return self.columns[name]

    def has_values(self, name: str) -> bool:
        """Whether the catalog has a column of that name."""
        return name in self.catalog.columns

    def rows(self, split: str) -> RowIndices:
        """Rows of a split.

        Raises:
          UserError: if there is no such split.
        """
        if split not in self.splits:
            raise UserError(f'The store {self.name} has no split {split!r}: {did_you_mean(split, self.splits)}.')
        return self.splits[split]


def _read_meta(path: Path) -> dict[str, Any]:
    file = path / 'store.json'
    if not os.path.isfile(file):
        raise UserError(f'{path} is not a finished store (it has no store.json); make one with '
                        f'`vmmjax prepare --source=... --store={path}`.')
    try:
        meta = json.loads(file.read_text())
        version = meta['format']
    except (json.JSONDecodeError, TypeError, KeyError) as error:
        raise UserError(f'{file} is damaged ({error!r}); delete the folder and prepare the store again.') from error
    check_format(path, version)
    return meta


def check_format(store: Path, version: Any) -> None:
    """Refuses a store of a format that is not known here."""
    if version not in READABLE:
        raise UserError(f'The store {store} has format {version}, this vmmjax reads the formats '
                        f'{" and ".join(map(str, READABLE))}; prepare it again in another folder, or install the '
                        f'vmmjax that wrote it.')


def is_remote(path: str | Path) -> bool:
    """Whether a path is not one of this machine, such as gs://bucket/store."""
    return isinstance(path, str) and '://' in path


def columns_at_hand(store: Store, read: Collection[str]) -> dict[str, Column]:
    """The columns whose records cost no transfer: all of a store that is here, else those that are read anyway."""
    return {name: column for name, column in store.columns.items() if name in read or not is_remote(store.name)}


def _mirror(path: str) -> 'Mirror':
    from vmmjax.store.remote import Mirror  # Most stores are here.

    return Mirror(path)


def _read_column(folder: Path, mirror: 'Mirror | None') -> Column:
    meta = json.loads((folder / 'column.json').read_text())
    listed = shards_of(meta)
    files = tuple(folder / shard['file'] for shard in listed)
    for shard in files:
        if mirror is None and not shard.is_file():
            raise UserError(f'{shard} is missing from the store; run the `vmmjax prepare` that it was made with again: '
                            f'it makes that shard.')
    counts = tuple(shard['records'] for shard in listed)
    return Column(name=folder.name, kind=meta['kind'], rate=meta['rate'], chunk=meta['chunk'],
                  shape=tuple(meta['shape']), lengths=np.load(folder / 'lengths.npy'),
                  offsets=np.load(folder / 'offsets.npy'), sizes=np.load(folder / 'sizes.npy'),
                  source=MirroredShards(files, counts, mirror) if mirror else ShardFiles(files, counts),
                  options=meta['options'], builder=meta.get('builder', ''), version=meta.get('version', 1))
