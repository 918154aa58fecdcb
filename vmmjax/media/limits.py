"""Reading files in a process of its own, so that one on which FFmpeg hangs or crashes costs only itself."""

import contextlib
import os
import pickle
import queue
import resource
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, NoReturn

import cv2

from vmmjax.errors import UserError
from vmmjax.media import budget
from vmmjax.media.container import MediaError

# Signals by which others end a process; every other is the file's doing.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


def isolated(path: Path, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
    """Yields what `function(*arguments)` yields, from a process that lives on from call to call.

    Each thread has a process of its own, which begins with the first call and ends with the thread or with this
    process. FFmpeg may work for `budget.CALL_SECONDS` and longer for a large file, anew for each item.

    Args:
      path: the file that is read.
      function: a generator function of a module; it, its arguments and what it yields are pickled.
      arguments: of the function.

    Raises:
      MediaError: where FFmpeg exceeds its time, where reading ends the process (as a damaged file may), or where
        memory does not suffice.
      BrokenProcessPool: where the process was killed from outside, as for want of memory in the machine.
      Exception: whatever the function raises.
    """
    reader = getattr(_of_thread, 'reader', None)
    if reader is None or not reader.alive or reader.owner != os.getpid():  # A fork may not share it.
        reader = _of_thread.reader = _Reader()
    yield from reader.items(path, function, arguments)


_of_thread = threading.local()


class _Reader:
    """A process that reads, and the connection to it."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        # Not by multiprocessing: its processes may not begin others where they are daemons, as Dask's are.
        code = (f'import sys; sys.path[:] = {sys.path!r}\n'
                f'from vmmjax.media.limits import serve; serve({theirs.fileno()})')
        with theirs:
            self._process = subprocess.Popen([sys.executable, '-c', code], pass_fds=[theirs.fileno()],
                                             stdin=subprocess.DEVNULL)
        self.alive, self.owner = True, os.getpid()

    def items(self, path: Path, function: Callable[..., Iterator[Any]], arguments: tuple[Any, ...]) -> Iterator[Any]:
        finished = False
        try:
            self._connection.send_bytes(pickle.dumps((Path(path), function, arguments)))
            while True:
                kind, value = self._connection.recv()
                if kind != 'item':
                    finished = True
                    break
                yield value
        except (EOFError, ConnectionError):
            self._explain_end(path)
        finally:
            if not finished:  # It died, or nobody wants the rest.
                self._end()
        if kind == 'raised':
            raise value

    def _explain_end(self, path: Path) -> NoReturn:
        code = self._process.wait()
        if code >= 0:
            raise BrokenProcessPool(f'The process that reads media files ended with status {code}.')
        if -code in _FROM_OUTSIDE:
            raise BrokenProcessPool(f'The process that reads media files was killed by signal {-code}.')
        if -code == budget.SIGNAL:
            raise MediaError(path, 'FFmpeg does not come to an end with it')
        raise MediaError(path, f'reading it crashes FFmpeg ({signal.Signals(-code).name})')

    def _end(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def __del__(self) -> None:
        if self.alive:
            self._end()


def serve(descriptor: int) -> None:
    """In the process that reads: answers until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent gets it too, and says when to stop.
    signal.signal(budget.SIGNAL, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    cv2.setNumThreads(1)  # Files are read side by side by processes.
    connection = Connection(descriptor)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def receive() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                requests.put(connection.recv_bytes())
        os._exit(1)  # Also in the middle of a file.

    threading.Thread(target=receive, daemon=True).start()
    while True:
        for message in _answers(requests.get()):
            connection.send_bytes(message)


def _answers(request: bytes) -> Iterator[bytes]:
    try:
        path, function, arguments = pickle.loads(request)
        size = path.stat().st_size if path.is_file() else 0
        budget.begin(size)
        for item in function(*arguments):
            budget.end()
            yield pickle.dumps(('item', item), pickle.HIGHEST_PROTOCOL)
            budget.begin(size)
        yield pickle.dumps(('end', None))
    except MemoryError:
        yield pickle.dumps(('raised', MediaError(path, 'there is not enough memory to read it')))
    except Exception as error:
        if not isinstance(error, UserError):
            error.add_note(''.join(traceback.format_exception(error)))  # Frames cannot be pickled.
        yield pickle.dumps(('raised', error))
    finally:
        budget.end()
