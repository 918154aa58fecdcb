"""Alarms that are sent somewhere, each at least once: they wait on the disk while the receiver is down."""

import abc
import itertools
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

from vmmjax import atomic
from vmmjax.serving.live.alarm import Alarm

TIMEOUT = 5.0
"""Seconds in which a receiver answers."""
_FIRST, _LAST = 1.0, 30.0  # Seconds until it is tried again, doubled each time.


class Outbox(abc.ABC):
    """Sends messages in their order; where a receipt is lost a message comes twice, with the same `id` and `number`."""

    def __init__(self, spool: Path, say: Callable[[str], None]) -> None:
        """Begins with what an earlier process left.

        Args:
          spool: folder for what is not sent yet; made where it is not there.
          say: is told in one line when the receiver is down.
        """
        self._spool, self._say = spool, say
        spool.mkdir(parents=True, exist_ok=True)
        atomic.remove_leftovers(spool)
        self._numbers = itertools.count()
        self._more, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._send_all, name=type(self).__name__, daemon=True)
        self._thread.start()

    def _open(self) -> str:
        """Connects, where a receiver keeps a connection and there is none; why that cannot be, or ''."""
        return ''

    @abc.abstractmethod
    def _send(self, content: bytes) -> str:
        """Sends a message, the JSON of an alarm; why it was not taken, or ''."""

    @property
    def waiting(self) -> int:
        """Messages that are not sent yet."""
        return len(self._files())

    def post(self, alarm: Alarm) -> None:
        """Takes a message; it is on the disk when this returns."""
        name = f'{time.time_ns():020d}-{next(self._numbers):06d}.json'
        atomic.write(self._spool / name, json.dumps(alarm.to_json()))
        self._more.set()

    def close(self, seconds: float) -> None:
        """Waits for so long until all is sent; what is not is sent by the next process."""
        end = time.monotonic() + seconds
        while self.waiting and time.monotonic() < end:
            time.sleep(0.05)
        self._stop.set()
        self._more.set()
        self._thread.join(TIMEOUT + 1)

    def _files(self) -> list[Path]:
        return sorted(self._spool.glob('*.json'))

    def _send_all(self) -> None:
        pause, down = _FIRST, False
        while not self._stop.is_set():
            self._more.clear()
            failed = self._send_waiting()
            if failed and not down:
                self._say(f'{failed}; alarms wait until it takes them')
            if down and not failed:
                self._say('it takes alarms again')
            down = bool(failed)
            if failed:
                self._stop.wait(pause)
                pause = min(2 * pause, _LAST)
            else:
                pause = _FIRST
                self._more.wait()

    def _send_waiting(self) -> str:
        """Sends what waits; why a message was not taken, or ''."""
        try:
            failed = self._open()
            for file in self._files():
                if failed or self._stop.is_set():
                    break
                content = file.read_bytes()
                if not _is_message(content):  # It would be refused for ever, and those after it would wait.
                    kept = file.rename(file.with_suffix('.damaged'))
                    self._say(f'{file.name} is no alarm; it is not sent, and kept as {kept}')
                    continue
                failed = self._send(content)
                if not failed:
                    file.unlink()
        except Exception as error:  # A thread that dies would be missed by nobody.
            failed = ' '.join(f'{type(error).__name__}: {error}'.split())
        return failed


def _is_message(content: bytes) -> bool:
    try:
        values = json.loads(content)
    except ValueError:
        return False
    return isinstance(values, dict) and {'id', 'number'} <= values.keys()
