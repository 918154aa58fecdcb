"""Where a page is served, and under which names it may be asked for."""

import ipaddress
import re
import socket
import sys
import threading
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from vmmjax.errors import UserError

NOT_OURS = 'This server is asked under its own address alone.'
"""What a request under a name of someone else is told, with status 403."""
_POLL = 0.1  # Seconds from one look for the end to the next.


class Listening(ThreadingHTTPServer):
    """Serves until it is closed.

    A name that leads here by its address (DNS rebinding) would let a page of another site read what is served; a
    browser sends that name as `Host`, and a handler refuses it by `is_asked`.

    Attributes:
      address: of the page, which can be handed on to whoever may reach it.
      is_open: whether other machines may reach it.
    """

    daemon_threads = True

    def __init__(self, where: str, handler: type[BaseHTTPRequestHandler]) -> None:
        """Begins to serve.

        Args:
          where: host:port; without a host 127.0.0.1; port 0 is any that is free.
          handler: of a request.

        Raises:
          UserError: where the address is none, or is in use.
        """
        host, _, port = where.rpartition(':')
        host = host or '127.0.0.1'
        try:
            super().__init__((host, int(port)), handler)
        except (OSError, ValueError, OverflowError) as error:
            raise UserError(f'The page cannot be served at {where} ({error}); give --page=HOST:PORT with a port that '
                            f'is free.') from error
        bound, number = str(self.server_address[0]), int(self.server_address[1])
        self.is_open = not ipaddress.ip_address(bound).is_loopback
        names = {'localhost', host, bound, *((socket.gethostname(), self.server_name) if self.is_open else ())}
        self._names = frozenset(name.lower() for name in names)
        self.address = f'http://{_reachable() if ipaddress.ip_address(bound).is_unspecified else host}:{number}/'
        threading.Thread(target=self.serve_forever, args=(_POLL,), name='page', daemon=True).start()

    def is_asked(self, host: str) -> bool:
        """Whether a request's `Host` is this server's: a name of it, or, of one that is open, any IP address.

        No name is behind an address in a browser, so that an address is one of this machine or of what leads to it.
        """
        if not re.fullmatch(r'[\w.:\[\]-]*', host):
            return False
        try:
            name = urllib.parse.urlsplit(f'//{host}').hostname or ''
        except ValueError:  # Such as `[::`.
            return False
        return name in self._names or (self.is_open and _is_address(name))

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Tells of a fault of this server; that a connection ended is none."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Ends it."""
        self.shutdown()
        self.server_close()


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _reachable() -> str:
    """The address by which this machine reaches others, so that they reach it; its name where it reaches none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(('192.0.2.1', 9))  # Of documentation (RFC 5737); nothing is sent.
            return str(probe.getsockname()[0])
        except OSError:
            return socket.gethostname()
