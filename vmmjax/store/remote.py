"""Stores on a remote path: what is small is copied when they are opened, shards when they are read.

ArrayRecord reads local files only, so shards go through a cache in the folder that the environment variable
VMMJAX_CACHE names (the user's cache folder unless set), of VMMJAX_CACHE_GB gigabytes at most (50 unless set): those
that were not used for longest make room. All processes of a machine share it. Training reads clips in random order;
a cache smaller than the columns it reads copies shards again and again.

fsspec reads the path: `http://`, `gs://`, `s3://` and more, each with the package that it asks for. A server of
`http://` must list its folders, as those of Python, nginx and Apache do.
"""

import hashlib
import json
import os
import shutil
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from array_record.python.array_record_module import ArrayRecordReader

from vmmjax import atomic
from vmmjax.checksum import sha256
from vmmjax.errors import UserError
from vmmjax.store import locks
from vmmjax.store.column import shards_of
from vmmjax.store.shard_files import open_shard

_PAUSE = 0.05  # Seconds until it is tried again to find room.
_STALE = 600.0  # Seconds without a byte after which a copy is one that was killed.


class Mirror:
    """A local folder with what was copied of a remote store.

    Attributes:
      folder: where its files have the places they have in the store.
      columns: names of the complete columns.
    """

    def __init__(self, url: str):
        """Copies the catalog and what describes the columns.

        Raises:
          UserError: where there is no store, or it cannot be reached.
        """
        self._url = url.rstrip('/')
        self._cache = Path(os.environ.get('VMMJAX_CACHE') or Path(
            os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'vmmjax' / 'stores')
        self._limit = _limit()
        self.folder = self._cache / hashlib.sha256(self._url.encode()).hexdigest()[:16]
        self._shards: dict[Path, dict[str, Any]] = {}
        self._readers: dict[Path, ArrayRecordReader] = {}
        self._locks: defaultdict[Path, threading.Lock] = defaultdict(threading.Lock)
        with self._errors():
            import fsspec
            self._files, self._root = fsspec.core.url_to_fs(self._url)
            for name in ('store.json', 'catalog.csv'):
                self._copy(name)
            listed = {entry.rstrip('/').rpartition('/')[2] for entry in self._files.ls(self._root, detail=False)}
            self.columns = [name for name in sorted(listed)
                            if '.' not in name and self._files.exists(f'{self._root}/{name}/column.json')]
            for column in self.columns:
                for name in ('lengths.npy', 'offsets.npy', 'sizes.npy', 'column.json'):
                    self._copy(f'{column}/{name}')
                meta = json.loads((self.folder / column / 'column.json').read_text())
                self._shards |= {self.folder / column / shard['file']: shard for shard in shards_of(meta)}

    def records(self, shard: Path, positions: Sequence[int]) -> list[bytes]:
        """Reads records of a shard, which is copied first where it is not there; safe to call from several threads.

        Args:
          shard: its place in `folder`.
          positions: of the records in it.

        Raises:
          UserError: where it cannot be reached, has another content than was recorded, or does not fit in the cache.
        """
        return list(self._reader(shard).read(positions))

    def _reader(self, shard: Path) -> ArrayRecordReader:
        with self._locks[shard], self._errors():
            try:
                os.utime(shard)
                reader = self._readers.get(shard) or _open(shard)
            except FileNotFoundError:
                reader = self._fetch(shard)
            self._readers[shard] = reader
            return reader

    def _fetch(self, shard: Path) -> ArrayRecordReader:
        expected = self._shards[shard]
        remote = f'{self._root}/{shard.relative_to(self.folder).as_posix()}'
        with ExitStack() as named, atomic.replacing(shard) as partial:
            while not self._reserve(partial, expected['bytes']):
                time.sleep(_PAUSE)
            with self._files.open(remote, 'rb') as source, open(partial, 'r+b') as copy:
                shutil.copyfileobj(source, copy, 1 << 20)
            if partial.stat().st_size != expected['bytes'] or sha256(partial) != expected['sha256']:
                raise UserError(f'{remote} is damaged: it has another content than was recorded; run `vmmjax prepare '
                                f'--verify` where the store was made, and copy the shard again.')
            # Until it has its name: who makes room counts files by theirs, and would miss one that changes it.
            named.enter_context(locks.turn(self._cache))
            return _open(partial)  # Before others can remove it.

    def _reserve(self, partial: Path, size: int) -> bool:
        """Makes a file of that size in the cache; False while what others copy leaves no room for it."""
        if size > self._limit:
            raise UserError(f'A shard of {self._url} has {size / 1e9:.3g} GB, more than the cache may hold: '
                            f'set VMMJAX_CACHE_GB above that.')
        with locks.turn(self._cache):
            there = [(found, file) for file in self._cache.glob('*/*/*array_record*') if (found := _stat(file))]
            excess = sum(found.st_size for found, _ in there) + size - self._limit
            for found, file in sorted(there, key=lambda entry: entry[0].st_mtime_ns):
                if excess > 0 and (file.suffix != atomic.SUFFIX or found.st_mtime < time.time() - _STALE):
                    file.unlink(missing_ok=True)
                    self._readers.pop(file, None)  # An open file would keep its room.
                    excess -= found.st_size
            if excess <= 0:
                partial.touch()
                os.truncate(partial, size)
            return excess <= 0

    def _copy(self, name: str) -> None:
        (self.folder / name).parent.mkdir(parents=True, exist_ok=True)
        atomic.write(self.folder / name, self._files.cat_file(f'{self._root}/{name}'))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except UserError:
            raise
        except ImportError as error:
            raise UserError(f'The store {self._url} cannot be read without another package ({error}): install it, or '
                            f'vmmjax[remote] for http.') from error
        except FileNotFoundError as error:
            raise UserError(f'{self._url} is not a finished store ({error} is not there): correct the path, or make '
                            f'one with `vmmjax prepare` and copy it there.') from error
        except Exception as error:  # Every kind of remote path has its own.
            raise UserError(f'The store {self._url} cannot be read: {error or type(error).__name__}; see that it can '
                            f'be reached, then run the command again.') from error


def _open(shard: Path) -> ArrayRecordReader:
    reader = open_shard(shard)
    if not reader.ok() and not shard.exists():  # What is wrong is said by reading, not by opening.
        raise FileNotFoundError(shard)  # It was removed just now, to make room.
    return reader


def _limit() -> int:
    text = os.environ.get('VMMJAX_CACHE_GB', '50')
    try:
        return int(float(text) * 1e9)
    except ValueError as error:
        raise UserError(f'VMMJAX_CACHE_GB is {text!r}: set it to a number of gigabytes.') from error


def _stat(file: Path) -> os.stat_result | None:
    try:
        return file.stat()
    except FileNotFoundError:  # Another process was quicker.
        return None
