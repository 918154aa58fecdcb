"""Files and folders that are whole or not there: written under a temporary name, then renamed."""

import csv
import io
import os
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

SUFFIX = '.partial'
"""What the temporary names end with: a killed process may leave some."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the name to write to; when the block ends well, what stands there becomes `path`, else it is removed.

    What the block makes there is a file, or a folder where at `path` there is none, or an empty one.

    The name is hidden, stands beside `path`, and is this process's own, among all machines that write there.
    """
    partial = path.with_name(f'.{path.name}.{platform.node()}.{os.getpid()}{SUFFIX}')
    try:
        yield partial
        os.replace(partial, path)
    finally:
        _remove(partial)


def write(path: Path, content: str | bytes) -> None:
    """Writes a whole file, on the disk when this returns; text as UTF-8."""
    with replacing(path) as partial, partial.open('wb') as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Writes a whole CSV file, its lines ended by a line feed; a cell may hold any text, carriage returns, too."""
    lines = []
    for row in rows:
        line = io.StringIO()
        csv.writer(line, lineterminator='\r\n').writerow(row)  # Before Python 3.13 only what ends lines is quoted.
        lines.append(line.getvalue().removesuffix('\r\n') + '\n')
    write(path, ''.join(lines))


def remove_leftovers(folder: Path) -> None:
    """Removes, from a folder and those in it, what killed processes were writing; none may be writing now."""
    for partial in list(folder.rglob(f'*{SUFFIX}')):
        _remove(partial)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
