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
from vmmjax.media.container import NO_MEMORY, MediaError

# Signals by which others end a process; every other is the file's doing.
_FROM_OUTSIDE = (signal.SIGKILL, signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
# Bytes that a process may take beyond what it begins with: 8K video needs 2 GiB, the rest is for a column's algorithm.
_MEMORY = 4 << 30


def isolated(path: Path, function: Callable[..., Iterator[Any]], *arguments: Any) -> Iterator[Any]:
    """Yields what `function(*arguments)` yields, from a process that lives on from call to call.

    Each thread has a process of its own, which begins with the first call and ends with the thread or with this
    process. FFmpeg may work for `budget.CALL_SECONDS` and longer for a large file, anew for each item; the process may
    take 4 GiB of memory.

    Args:
      path: the file that is read.
      function: a generator function of a module; it, its arguments and what it yields are pickled.
      arguments: of the function.

    Raises:
      MediaError: where FFmpeg exceeds its time, where reading ends the process (as a damaged file may), or where
        memory does not suffice, its own or the machine's.
      BrokenProcessPool: where the process was killed from outside.
      Exception: whatever the function raises.
    """
    reader = getattr(_of_thread, 'reader', None)
    if reader is None or not reader.alive or reader.owner != os.getpid():  # A fork may not share it.
        reader = _of_thread.reader = Reader()
    yield from reader.items(path, function, arguments)


_of_thread = threading.local()


class Reader:
    """A process that reads one file at a time, and the connection to it; it ends with this object.

    Attributes:
      alive: whether it can read another one.
      owner: the process that began it.
    """

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
        """See `isolated`; nothing else is to be read before the end of it."""
        finished, kills = False, _kills_for_memory()
        try:
            self._connection.send_bytes(pickle.dumps((Path(path), function, arguments)))
            while True:
                kind, value = self._connection.recv()
                if kind != 'item':
                    finished = True
                    break
                yield value
        except (EOFError, ConnectionError):
            self._explain_end(path, kills)
        finally:
            if not finished:  # It died, or nobody wants the rest.
                self._end()
        if kind == 'raised':
            raise value

    def _explain_end(self, path: Path, kills: int) -> NoReturn:
        code = self._process.wait()
        if code >= 0:
            raise BrokenProcessPool(f'The process that reads media files ended with status {code}.')
        if -code == signal.SIGKILL and _kills_for_memory() > kills:
            raise MediaError(path, NO_MEMORY)
        if -code in _FROM_OUTSIDE:
            raise BrokenProcessPool(f'The process that reads media files was killed by signal {-code}.')
        if -code == budget.SIGNAL:
            raise MediaError(path, 'FFmpeg does not come to an end with it')
        if -code == budget.WAITING:
            raise MediaError(path, f'FFmpeg waits for it, for more than {budget.WAIT_SECONDS:.0f} s')
        raise MediaError(path, f'reading it crashes FFmpeg ({signal.Signals(-code).name})')

    def _end(self) -> None:
        self.alive = False
        self._process.kill()
        self._process.wait()
        self._connection.close()

    def __del__(self) -> None:
        if self.alive:
            self._end()


def _kills_for_memory() -> int:
    """How often the kernel has ended a process because memory was short; 0 where it does not say."""
    with contextlib.suppress(OSError), open('/proc/vmstat') as counts:
        return sum(int(line.split()[1]) for line in counts if line.startswith('oom_kill '))
    return 0


def serve(descriptor: int) -> None:
    """In the process that reads: answers until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent gets it too, and says when to stop.
    for ending in (budget.SIGNAL, budget.WAITING):
        signal.signal(ending, signal.SIG_DFL)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _bound_memory()
    cv2.setNumThreads(1)  # Files are read side by side by processes.
    connection = Connection(descriptor)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def receive() -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                requests.put(connection.recv_bytes())
        os._exit(1)  # Also in the middle of a file.

    threading.Thread(target=receive, daemon=True).start()
    threading.Thread(target=budget.watch, daemon=True).start()
    while True:
        for message in _answers(requests.get()):
            connection.send_bytes(message)


def _bound_memory() -> None:
    """Makes a wish for more memory fail before the machine has none left for others."""
    # What may be written and is nobody else's: drivers of accelerators reserve addresses by the terabyte.
    with contextlib.suppress(OSError), open('/proc/self/status') as status:
        used = sum(1024 * int(line.split()[1]) for line in status if line.startswith('VmData:'))
        _, most = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = used + _MEMORY if most == resource.RLIM_INFINITY else min(used + _MEMORY, most)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, most))


def lacks_memory(error: Exception) -> bool:
    """Whether an error is that of Python or OpenCV where memory does not suffice."""
    return isinstance(error, MemoryError) or (isinstance(error, cv2.error) and error.code == cv2.Error.StsNoMem)


def unforeseen(path: Path, what: str, error: Exception) -> MediaError:
    """The one sentence about an error that nobody foresaw, with the place in the code that raised it.

    Args:
      path: of the file that it costs.
      what: was being done, such as `the column`.
      error: that was raised.
    """
    place = traceback.extract_tb(error.__traceback__)[-1]
    return MediaError(path, f'{what} raises {type(error).__name__}: {error} ({Path(place.filename).name}, line '
                            f'{place.lineno})')


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
    except Exception as error:
        if lacks_memory(error):
            error = MediaError(path, NO_MEMORY)
        if not isinstance(error, UserError):
            error.add_note(''.join(traceback.format_exception(error)))  # Frames cannot be pickled.
        yield pickle.dumps(('raised', error))
    finally:
        budget.end()
