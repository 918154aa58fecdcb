"""Alarms posted to an address."""

import json
import re
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError
from vmmjax.serving.live.outbox import TIMEOUT, Outbox


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirected POST would become a GET without the message, and the answer to that is no receipt."""

    def redirect_request(self, *_: Any) -> None:
        """No request, so that the redirect is an error."""


_OPENER = urllib.request.build_opener(_NoRedirects)


class Webhook(Outbox):
    """Posts messages as JSON; any answer of 200 to 299 is a receipt, and a redirect is none.

    The `id` and `number` of a message are also in the header `Idempotency-Key`.
    """

    def __init__(self, address: str, spool: Path, say: Callable[[str], None]) -> None:
        """Begins with what an earlier process left.

        Args:
          address: http:// or https://.
          spool: see `Outbox`.
          say: see `Outbox`.

        Raises:
          UserError: for an address that is none.
        """
        check(address)
        self._address = address
        super().__init__(spool, say)

    def _send(self, content: bytes) -> str:
        try:
            values = json.loads(content)
            request = urllib.request.Request(self._address, content, {
                'Content-Type': 'application/json', 'Idempotency-Key': f'{values["id"]}-{values["number"]}'})
            with _OPENER.open(request, timeout=TIMEOUT):
                return ''
        except urllib.error.HTTPError as error:
            return f'it answers {error.code} {error.reason}'
        except (OSError, ValueError) as error:
            reason = getattr(error, 'reason', error)
            return (getattr(reason, 'strerror', None) or str(reason)).lower()


def check(address: str) -> None:
    """Refuses an address that nothing can be posted to.

    Raises:
      UserError: where it is no address of HTTP, has a port that is none, a user, or letters that are not encoded.
    """
    try:
        parts = urllib.parse.urlsplit(address)
        right = parts.scheme in ('http', 'https') and parts.hostname and parts.port != 0 and '@' not in parts.netloc
    except ValueError:
        right = False
    if not right or not re.fullmatch('[!-~]+', address):
        raise UserError('--webhook takes an address such as https://example.org/alarms: http:// or https://, a host, '
                        'perhaps a port of 1 to 65535, no user; other letters than those of ASCII and spaces are '
                        'written as %20 is.')
