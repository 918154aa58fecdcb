"""Against a real broker, where mosquitto and paho-mqtt are installed."""

import contextlib
import importlib.util
import json
import shutil
import socket
import subprocess
import sys
import threading
import time

import pytest

from tests.serving.live.test_log import alarm
from tests.serving.live.test_webhook import until
from vmmjax.errors import UserError
from vmmjax.serving.live.mqtt import Mqtt, check

needs_paho = pytest.mark.skipif(not importlib.util.find_spec('paho'),
                                reason="needs paho-mqtt: pip install 'vmmjax[mqtt]'")


class Broker:
    """A mosquitto that can be down; it knows one user."""

    def __init__(self, folder):
        self._program = shutil.which('mosquitto') or shutil.which('mosquitto', path='/usr/sbin')
        passwords = shutil.which('mosquitto_passwd')
        if self._program is None or passwords is None:
            pytest.skip('needs mosquitto, which is not installed here')
        with socket.create_server(('127.0.0.1', 0)) as free:
            self.port = free.getsockname()[1]
        subprocess.run([passwords, '-b', '-c', str(folder / 'users'), 'me', 'se/cret'], check=True)
        self._config = folder / 'mosquitto.conf'
        self._config.write_text(f'listener {self.port} 127.0.0.1\npassword_file {folder / "users"}\n'
                                'allow_anonymous false\nuser root\n')
        self._process = None

    def address(self, user='me:se%2Fcret'):
        return f'mqtt://{user}@127.0.0.1:{self.port}/house/cameras'

    def up(self):
        self._process = subprocess.Popen([self._program, '-c', str(self._config)], stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', self.port), 1):
                return
            assert time.monotonic() < end
            time.sleep(.05)

    def down(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextlib.contextmanager
    def heard(self):
        """What is published meanwhile: (topic, payload, whether the broker had kept it)."""
        import paho.mqtt.client as paho

        found, ready = [], threading.Event()
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.username_pw_set('me', 'se/cret')
        client.on_message = lambda _client, _data, told: found.append((told.topic, told.payload.decode(), told.retain))
        client.on_subscribe = lambda *_: ready.set()
        client.connect('127.0.0.1', self.port)
        client.subscribe('#', 1)
        client.loop_start()
        assert ready.wait(30)
        yield found
        client.disconnect()
        client.loop_stop()


@pytest.fixture
def broker(tmp_path):
    broker = Broker(tmp_path)
    yield broker
    broker.down()


@needs_paho
def test_alarms_are_published_in_order_and_wait_while_the_broker_is_down(broker, tmp_path):
    said = []
    box = Mqtt(broker.address(), tmp_path / 'spool', said.append)
    for name in 'ab':
        box.post(alarm(name, 'start'))
    until(lambda: said)
    assert box.waiting == 2
    assert said == ['connection refused; alarms wait until it takes them']
    broker.up()
    with broker.heard() as found:
        until(lambda: not box.waiting)
        until(lambda: len(found) >= 3)
        box.post(alarm('a', 'end', 1))
        until(lambda: len(found) >= 4)
        broker_says = [(topic, payload) for topic, payload, _ in found if topic.endswith('available')]
        box.close(5)
        until(lambda: ('house/cameras/available', 'offline', False) in found)
    assert broker_says == [('house/cameras/available', 'online')]
    told = [json.loads(payload) for topic, payload, _ in found if topic == 'house/cameras/alarms']
    assert [(each['id'], each['number']) for each in told] == [('a', 0), ('b', 0), ('a', 1)]
    assert told[0] == alarm('a', 'start').to_json()
    with broker.heard() as found:
        until(lambda: found)
    assert found == [('house/cameras/available', 'offline', True)]


@needs_paho
def test_who_is_refused_is_told_so_and_nothing_is_lost(broker, tmp_path):
    broker.up()
    said = []
    box = Mqtt(broker.address('me:wrong'), tmp_path / 'spool', said.append)
    box.post(alarm('a', 'start'))
    until(lambda: said)
    box.close(0)
    assert said == ['the broker refuses: not authorized; alarms wait until it takes them']
    again = Mqtt(broker.address(), tmp_path / 'spool', said.append)
    until(lambda: not again.waiting)
    again.close(1)


@pytest.mark.parametrize('address', ['broker', 'http://broker/topic', 'mqtt://broker', 'mqtt://broker/', 'mqtt:///topic',
                                     'mqtt://broker:99999/topic', 'mqtt://broker/all/%23', 'mqtt://broker/+/x'])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(UserError, match='--mqtt takes an address'):
        check(address)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'paho.mqtt.client', None)
    with pytest.raises(UserError, match=r"pip install 'vmmjax\[mqtt\]'"):
        check('mqtt://broker/topic')
