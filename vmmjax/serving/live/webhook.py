"""Alarms sent to an address, each at least once: they wait on the disk while the receiver is down."""

import itertools
import json
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from vmmjax import atomic
from vmmjax.serving.live.alarm import Alarm

_TIMEOUT = 5.0  # Seconds.
_FIRST, _LAST = 1.0, 30.0  # Seconds until it is tried again, doubled each time.


class Webhook:
    """Posts messages as JSON in their order; any answer of 200 to 299 is a receipt.

    Where a receipt is lost a message comes twice: its `id` and `number` are also in the header `Idempotency-Key`.
    """

    def __init__(self, address: str, spool: Path, say: Callable[[str], None]) -> None:
        """Begins with what an earlier process left.

        Args:
          address: http:// or https://.
          spool: folder for what is not sent yet; made where it is not there.
          say: is told in one line when the receiver is down.
        """
        self._address, self._spool, self._say = address, spool, say
        spool.mkdir(parents=True, exist_ok=True)
        atomic.remove_leftovers(spool)
        self._numbers = itertools.count()
        self._more, self._stop = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._send_all, name='webhook', daemon=True)
        self._thread.start()

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
        self._thread.join(_TIMEOUT + 1)

    def _files(self) -> list[Path]:
        return sorted(self._spool.glob('*.json'))

    def _send_all(self) -> None:
        pause, down = _FIRST, False
        while not self._stop.is_set():
            self._more.clear()
            failed = ''
            for file in self._files():
                failed = self._send(file)
                if failed or self._stop.is_set():
                    break
                file.unlink()
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

    def _send(self, file: Path) -> str:
        """Sends a message; why it was not taken, or ''."""
        try:
            content = file.read_bytes()
            values = json.loads(content)
            request = urllib.request.Request(self._address, content, {
                'Content-Type': 'application/json', 'Idempotency-Key': f'{values["id"]}-{values["number"]}'})
            with urllib.request.urlopen(request, timeout=_TIMEOUT):
                return ''
        except urllib.error.HTTPError as error:
            return f'it answers {error.code} {error.reason}'
        except (OSError, ValueError) as error:
            reason = getattr(error, 'reason', error)
            return (getattr(reason, 'strerror', None) or str(reason)).lower()
