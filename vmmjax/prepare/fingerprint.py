"""Notices that a source's file is no longer the one that the catalog was made from.

A time of change would differ on every machine that the files are copied to, and a digest of whole files would
read terabytes: size and both ends hold the headers and indices of every container, which any other encoding changes.
"""

import csv
import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.media.container import MediaError
from vmmjax.parallel import read_all

_END = 1 << 16  # Bytes of each end that are read.
_FILE = 'files.csv'


def of(path: Path) -> str:
    """Size and SHA-256 of the first and the last 64 KiB, as `<bytes>:<16 hexadecimal digits>`."""
    with open(path, 'rb') as file:
        size = os.fstat(file.fileno()).st_size
        digest = hashlib.sha256(file.read(_END))
        file.seek(max(0, size - _END))
        digest.update(file.read(_END))
    return f'{size}:{digest.hexdigest()[:16]}'


def _of_any(path: Path) -> str:
    """That of a file that cannot be opened any more matches none."""
    try:
        return of(path)
    except OSError:
        return '0:'


def check(path: Path, expected: str) -> None:
    """Compares a file with what it was when the catalog was made.

    Raises:
      MediaError: where it is another, or gone.
    """
    try:
        same = of(path) == expected
    except OSError as error:
        gone = isinstance(error, FileNotFoundError)
        raise MediaError(path, 'it is gone since the catalog was made' if gone else
                         f'it cannot be opened ({error.strerror})') from None
    if not same:
        raise MediaError(path, 'it is no longer the file that the catalog was made from')


def check_sizes(paths: Mapping[str, Path], contents: Mapping[str, str]) -> None:
    """Compares the sizes alone, which reads no file: another source is noticed before anything is made of it.

    Args:
      paths: where each file is, by its name in the catalog.
      contents: what `of` found, by the same names.

    Raises:
      UserError: where files are there, but none has its size.
    """
    there = {name: path for name, path in paths.items() if path.is_file()}
    if there and not any(path.stat().st_size == int(contents[name].partition(':')[0]) for name, path in there.items()):
        raise UserError(f'None of the files is any longer the one that the store was made from, such as '
                        f'{next(iter(there.values()))}: choose another --store, or delete that one.')


def write(folder: Path, paths: Mapping[str, Path], threads: int, progress: bool) -> dict[str, str]:
    """Writes `files.csv` of a store: name and fingerprint of every file of the catalog, which it returns."""
    found = read_all(_of_any, list(paths.values()), threads=threads, label='reading files', progress=progress)
    contents = dict(zip(paths, found, strict=True))
    atomic.write_csv(folder / _FILE, [('path', 'content'), *contents.items()])
    return contents


def read(folder: Path) -> dict[str, str] | None:
    """Reads `files.csv` of a store; None where an older vmmjax made it without."""
    if not (folder / _FILE).exists():
        return None
    with open(folder / _FILE, newline='', encoding='utf-8') as lines:
        _, *rows = csv.reader(lines)
    return dict(rows)
