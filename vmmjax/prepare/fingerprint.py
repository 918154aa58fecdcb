"""Notices that a source's file is no longer the one that the catalog was made from.

A time of change would differ on every machine that the files are copied to, and a digest of whole files would
read terabytes: size and both ends hold the headers and indices of every container, which any other encoding changes.
"""

import csv
import hashlib
import io
import os
from collections.abc import Mapping
from pathlib import Path

from vmmjax import atomic
from vmmjax.errors import UserError
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


def check(path: Path, expected: str) -> None:
    """Compares a file with what it was when the catalog was made.

    Raises:
      UserError: where it is another, or gone.
    """
    try:
        same = of(path) == expected
    except FileNotFoundError:
        raise UserError(f'{path} is gone since the catalog was made: put it back, or choose another --store.'
                        ) from None
    if not same:
        raise _changed(path)


def check_sizes(paths: Mapping[str, Path], contents: Mapping[str, str]) -> None:
    """Compares the sizes alone, which reads no file; those that are gone are passed over.

    Args:
      paths: where each file is, by its name in the catalog.
      contents: what `of` found, by the same names.

    Raises:
      UserError: where one differs.
    """
    for name, path in paths.items():
        if path.is_file() and path.stat().st_size != int(contents[name].partition(':')[0]):
            raise _changed(path)


def write(folder: Path, paths: Mapping[str, Path], threads: int, progress: bool) -> dict[str, str]:
    """Writes `files.csv` of a store: name and fingerprint of every file of the catalog, which it returns."""
    found = read_all(of, list(paths.values()), threads=threads, label='reading files', progress=progress)
    contents = dict(zip(paths, found, strict=True))
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([('path', 'content'), *contents.items()])
    atomic.write(folder / _FILE, text.getvalue())
    return contents


def read(folder: Path) -> dict[str, str] | None:
    """Reads `files.csv` of a store; None where an older vmmjax made it without."""
    if not (folder / _FILE).exists():
        return None
    with open(folder / _FILE, newline='', encoding='utf-8') as lines:
        _, *rows = csv.reader(lines)
    return dict(rows)


def _changed(path: Path) -> UserError:
    return UserError(f'{path} is no longer the file that the store was made from (its content changed): choose '
                     f'another --store, or delete that one.')
