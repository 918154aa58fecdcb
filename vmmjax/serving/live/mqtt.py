"""Alarms published to an MQTT broker."""

import contextlib
import queue
import secrets
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vmmjax import optional
from vmmjax.errors import UserError
from vmmjax.serving.live.outbox import TIMEOUT, Outbox

_PORTS = {'mqtt': 1883, 'mqtts': 8883}
_KEEP_ALIVE = 30  # Seconds.
_FAULTS = OSError, ValueError, RuntimeError  # What the client raises.


class Mqtt(Outbox):
    """Publishes messages as JSON to `TOPIC/alarms`, at least once (quality of service 1).

    It connects at once, and again when the connection is lost. `TOPIC/available` is `online` while it is connected and
    `offline` else, also where the process was killed; the broker keeps (retains) it.
    """

    def __init__(self, address: str, spool: Path, say: Callable[[str], None]) -> None:
        """Begins with what an earlier process left.

        Args:
          address: mqtt://[user:password@]host[:port]/topic, or mqtts:// over TLS.
          spool: see `Outbox`.
          say: see `Outbox`.

        Raises:
          UserError: for an address that is none, and where paho-mqtt is not installed.
        """
        self._paho, self._parts = check(address)
        self._topic = urllib.parse.unquote(self._parts.path.strip('/'))
        # With a name that stays a new connection ends the lost one, whose `offline` would else come after its `online`.
        self._name = f'vmmjax{secrets.token_hex(8)}'
        self._client: Any = None
        super().__init__(spool, say)

    def close(self, seconds: float) -> None:
        """See `Outbox`; says that it is offline."""
        super().close(seconds)
        client = self._client
        if client is not None:
            with contextlib.suppress(*_FAULTS):  # Of one that is away the broker says so itself.
                self._available(client, 'offline').wait_for_publish(1.0)
            self._leave()

    def _open(self) -> str:
        try:
            self._client = self._client or self._connected()
        except _FAULTS as error:
            return _reason(error)
        return ''

    def _send(self, content: bytes) -> str:
        try:
            told = self._client.publish(f'{self._topic}/alarms', content, qos=1)
            told.wait_for_publish(TIMEOUT)
            if told.is_published():
                return ''
            failed = 'the broker does not answer'
        except _FAULTS as error:
            failed = _reason(error)
        # A message that this client still has would be sent again beside ours.
        self._leave()
        return failed

    def _connected(self) -> Any:
        """A client that the broker has taken.

        Raises:
          OSError: where it has not.
        """
        client = self._paho.Client(self._paho.CallbackAPIVersion.VERSION2, self._name)
        answers: queue.SimpleQueue[Any] = queue.SimpleQueue()

        def on_connect(client: Any, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
            if not reason.is_failure:
                self._available(client, 'online')  # Also when the client has connected again by itself.
            answers.put(reason)

        client.on_connect = on_connect
        client.connect_timeout = TIMEOUT
        if self._parts.username:
            client.username_pw_set(urllib.parse.unquote(self._parts.username),
                                   urllib.parse.unquote(self._parts.password or ''))
        if self._parts.scheme == 'mqtts':
            client.tls_set()
        client.will_set(f'{self._topic}/available', 'offline', qos=1, retain=True)
        client.connect(self._parts.hostname, self._parts.port or _PORTS[self._parts.scheme], _KEEP_ALIVE)
        client.loop_start()
        try:
            reason = answers.get(timeout=TIMEOUT)
        except queue.Empty:
            reason = None
        if reason is None or reason.is_failure:
            client.loop_stop()
            raise OSError('the broker does not answer' if reason is None else f'the broker refuses: {reason}')
        return client

    def _available(self, client: Any, word: str) -> Any:
        return client.publish(f'{self._topic}/available', word, qos=1, retain=True)

    def _leave(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            client.disconnect()
            client.loop_stop()


def _reason(error: Exception) -> str:
    return (getattr(error, 'strerror', None) or str(error)).lower()


def check(address: str) -> tuple[Any, urllib.parse.SplitResult]:
    """The module of the client, and the parts of an address.

    Raises:
      UserError: see `Mqtt`.
    """
    try:
        parts = urllib.parse.urlsplit(address)
        topic = urllib.parse.unquote(parts.path.strip('/'))
        # What stands after ? or # would be no part of the topic.
        right = (parts.scheme in _PORTS and parts.hostname and topic and parts.port != 0
                 and not any(letter in address for letter in '?#') and not any(letter in topic for letter in '+#\0'))
    except ValueError:
        right = False
    if not right:
        raise UserError('--mqtt takes an address such as mqtt://host:1883/cameras, or mqtts:// over TLS: a host, and a '
                        'topic without + and #; ? is written as %3F.')
    return optional.load('paho.mqtt.client', 'An MQTT output', 'mqtt'), parts
