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
from types import ModuleType, SimpleNamespace

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


@needs_paho
def test_it_is_online_before_the_first_alarm_and_after_the_broker_was_away(broker, tmp_path):
    broker.up()
    box = Mqtt(broker.address(), tmp_path / 'spool', print)
    for _ in range(2):  # The broker that is killed forgets what it has kept.
        with broker.heard() as found:
            until(lambda found=found: found)
            assert found[0][:2] == ('house/cameras/available', 'online')
        broker.down()
        broker.up()
    broker.down()
    box.close(0)


class Client:
    """What `Mqtt` asks of paho's client; `away` is a broker that cannot be reached."""

    def __init__(self, _version, name):
        self.name, self.published, self.away, self.left = name, [], False, []
        Client.made.append(self)

    def will_set(self, *_, **__):
        pass

    def connect(self, *_):
        pass

    def loop_start(self):
        self.on_connect(self, None, {}, SimpleNamespace(is_failure=False), None)

    def publish(self, topic, content, qos, retain=False):
        self.published.append((topic, content, retain))

        def wait_for_publish(_):
            if self.away:
                raise RuntimeError('Message publish failed: The client is not currently connected.')

        return SimpleNamespace(wait_for_publish=wait_for_publish, is_published=lambda: not self.away)

    def disconnect(self):
        self.left.append('disconnect')

    def loop_stop(self):
        self.left.append('loop_stop')


@pytest.fixture
def clients(monkeypatch):
    """Those that are made from here on."""
    Client.made = []
    module = ModuleType('paho.mqtt.client')
    module.Client, module.CallbackAPIVersion = Client, SimpleNamespace(VERSION2=2)
    monkeypatch.setattr('vmmjax.optional.load', lambda *_: module)
    monkeypatch.setattr('vmmjax.serving.live.outbox._FIRST', .05)
    return Client.made


def test_every_connection_says_that_it_is_online(clients, tmp_path):
    online = ('cameras/available', 'online', True)
    box = Mqtt('mqtt://broker/cameras', tmp_path, print)
    until(lambda: clients and clients[0].published)
    assert clients[0].published == [online], 'without an alarm'
    clients[0].loop_start()  # As paho does when it has connected again.
    assert clients[0].published == [online, online]
    clients[0].away = True
    box.post(alarm('a', 'start'))
    until(lambda: not box.waiting)
    first, second = clients
    assert first.left == ['disconnect', 'loop_stop']
    assert second.published == [online, ('cameras/alarms', json.dumps(alarm('a', 'start').to_json()).encode(), False)]
    assert first.name == second.name, 'so that the broker ends the connection that was lost'
    box.close(1)
    assert second.published[-1] == ('cameras/available', 'offline', True)


def test_it_closes_while_the_broker_is_away(clients, tmp_path):
    box = Mqtt('mqtt://broker/cameras', tmp_path, print)
    until(lambda: clients and clients[0].published)
    clients[0].away = True
    box.close(0)
    assert clients[0].left == ['disconnect', 'loop_stop']


@pytest.mark.parametrize('address', ['broker', 'http://broker/topic', 'mqtt://broker', 'mqtt://broker/', 'mqtt:///topic',
                                     'mqtt://broker:99999/topic', 'mqtt://broker/all/%23', 'mqtt://broker/+/x',
                                     'mqtt://[::1/cam', 'mqtt://broker/cam?qos=2', 'mqtt://broker/cam#1',
                                     'mqtt://broker/cam/#'])
def test_an_address_that_is_none_is_refused(address):
    with pytest.raises(UserError, match='--mqtt takes an address'):
        check(address)


def test_the_extra_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, 'paho.mqtt.client', None)
    with pytest.raises(UserError, match=r"pip install 'vmmjax\[mqtt\]'"):
        check('mqtt://broker/topic')
