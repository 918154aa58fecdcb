"""Files that are whole or not there: written under a temporary name, then renamed."""

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUFFIX = '.partial'
"""What the temporary names end with: a killed process may leave some."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives the name to write to; when the block ends well, what stands there becomes `path`, else it is removed.

    The name is hidden, stands beside `path`, and is this process's own, among all machines that write there.
    """
    partial = path.with_name(f'.{path.name}.{platform.node()}.{os.getpid()}{SUFFIX}')
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def write(path: Path, content: str | bytes) -> None:
    """Writes a whole file, on the disk when this returns; text as UTF-8."""
    with replacing(path) as partial, partial.open('wb') as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def remove_leftovers(folder: Path) -> None:
    """Removes, from a folder and those in it, what killed processes were writing; none may be writing now."""
    for partial in folder.rglob(f'*{SUFFIX}'):
        partial.unlink(missing_ok=True)
