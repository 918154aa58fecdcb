"""Alarms posted to an address."""

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from vmmjax.serving.live.outbox import TIMEOUT, Outbox


class Webhook(Outbox):
    """Posts messages as JSON; any answer of 200 to 299 is a receipt.

    The `id` and `number` of a message are also in the header `Idempotency-Key`.
    """

    def __init__(self, address: str, spool: Path, say: Callable[[str], None]) -> None:
        """Begins with what an earlier process left.

        Args:
          address: http:// or https://.
          spool: see `Outbox`.
          say: see `Outbox`.
        """
        self._address = address
        super().__init__(spool, say)

    def _send(self, content: bytes) -> str:
        try:
            values = json.loads(content)
            request = urllib.request.Request(self._address, content, {
                'Content-Type': 'application/json', 'Idempotency-Key': f'{values["id"]}-{values["number"]}'})
            with urllib.request.urlopen(request, timeout=TIMEOUT):
                return ''
        except urllib.error.HTTPError as error:
            return f'it answers {error.code} {error.reason}'
        except (OSError, ValueError) as error:
            reason = getattr(error, 'reason', error)
            return (getattr(reason, 'strerror', None) or str(reason)).lower()
