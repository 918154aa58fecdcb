"""Pools that work through a list in order, with progress: processes that never outlive their parent, and threads."""

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

import cv2
from tqdm import tqdm

from vmmjax.errors import UserError


def ordered_map(function: Callable[[Any], Any], items: Sequence[Any], *, workers: int, label: str,
                progress: bool = True, chunk: int = 1, pool: Executor | None = None) -> Iterator[Any]:
    """Yields `function(item)` for every item, in order.

    Args:
      function: of one item; it and the items are pickled.
      items: the work.
      workers: processes; 1 works in this one.
      label: what the progress bar says.
      progress: whether there is a progress bar.
      chunk: items handed to a process at a time.
      pool: processes that are there already, which do the work in the place of new ones.

    Raises:
      UserError: where a process was killed. What the function raises is raised here.
    """
    bar = {'desc': label, 'total': len(items), 'disable': not progress, 'mininterval': 0.5}
    own: Executor | None = None
    try:
        if pool is None and workers > 1:
            context = multiprocessing.get_context('spawn')  # A fork of a process with TensorFlow's threads hangs.
            pool = own = ProcessPoolExecutor(workers, mp_context=context, initializer=begin_worker)
        results = map(function, items) if pool is None else pool.map(function, items, chunksize=chunk)
        yield from tqdm(results, **bar)
    except BrokenProcessPool as error:
        raise UserError(f'A process was killed while {label} (out of memory?): the same command again goes on '
                        f'from here, perhaps with fewer processes.') from error
    finally:
        if own is not None:
            own.shutdown(cancel_futures=True)


def read_all(function: Callable[[Any], Any], files: Sequence[Any], *, threads: int, label: str,
             progress: bool) -> list[Any]:
    """`function(file)` for every file, in order, in threads: for reading and digests, which leave Python free.

    Args:
      function: of one file.
      files: the files.
      threads: at a time.
      label: what the progress bar says.
      progress: whether there is a progress bar.
    """
    with ThreadPoolExecutor(threads) as pool:
        return list(tqdm(pool.map(function, files), desc=label, total=len(files), disable=not progress,
                         mininterval=0.5))


def begin_worker() -> None:
    """In a worker: one thread for OpenCV, and an end when the parent is killed."""
    cv2.setNumThreads(1)
    parent = multiprocessing.parent_process()
    assert parent is not None  # A worker has one.

    def end_with_parent() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()
