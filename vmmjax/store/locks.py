"""Who may write a store: one command alone, or several workers of one.

`flock` leaves no file, and no lock is stale after kill -9.
"""

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vmmjax.errors import UserError


@contextmanager
def alone(folder: Path, begin: Callable[[], None]) -> Iterator[None]:
    """Holds a store against every other command, and calls `begin`.

    Raises:
      UserError: where another is writing it.
    """
    with _opened(folder) as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(f'Another vmmjax prepare is writing {folder}; wait for it, or choose another --store.'
                            ) from error
        begin()
        yield


@contextmanager
def among_workers(folder: Path, begun: Path, begin: Callable[[], None]) -> Iterator[None]:
    """Holds a store together with other workers, against every command that works alone.

    Args:
      folder: the store.
      begun: a file that is there once the store was begun.
      begin: makes it; called where it is not there, while the other workers wait. It may have become there.
    """
    with _opened(folder) as handle:
        fcntl.flock(handle, fcntl.LOCK_SH)
        if not begun.exists():
            fcntl.flock(handle, fcntl.LOCK_EX)
            begin()
            fcntl.flock(handle, fcntl.LOCK_SH)
        yield


@contextmanager
def turn(file: Path) -> Iterator[None]:
    """Waits until no other worker is in such a block with the same file."""
    with _opened(file) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def _opened(path: Path) -> Iterator[int]:
    handle = os.open(path, os.O_RDONLY)
    try:
        yield handle
    finally:
        os.close(handle)
