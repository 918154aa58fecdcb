import socket
import time

import pytest

from tests.serving.live.servers import Receiver
from tests.serving.live.test_log import alarm
from vmmjax.errors import UserError
from vmmjax.serving.live.webhook import Webhook, check


def until(condition, seconds=60):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(.02)


def test_what_a_receiver_misses_waits_on_the_disk_and_comes_in_order(tmp_path):
    receiver, said = Receiver(), []
    hook = Webhook(receiver.address, tmp_path / 'spool', said.append)
    for name in 'abc':
        hook.post(alarm(name, 'start'))
    until(lambda: said)
    assert hook.waiting == 3
    hook.close(0)
    receiver.up()
    again = Webhook(receiver.address, tmp_path / 'spool', said.append)
    again.post(alarm('a', 'end', 1))
    until(lambda: not again.waiting)
    again.close(1)
    receiver.close()
    assert [(found['id'], found['number']) for found in receiver.found] == [('a', 0), ('b', 0), ('c', 0), ('a', 1)]
    assert receiver.keys == ['a-0', 'b-0', 'c-0', 'a-1']
    assert said == ['connection refused; alarms wait until it takes them']


def test_a_receipt_that_is_lost_is_asked_for_again(tmp_path):
    receiver, said = Receiver(forgets=True), []
    receiver.up()
    hook = Webhook(receiver.address, tmp_path / 'spool', said.append)
    hook.post(alarm('a', 'start'))
    until(lambda: not hook.waiting)
    until(lambda: len(said) == 2)
    hook.close(1)
    receiver.close()
    assert receiver.keys == ['a-0', 'a-0'], 'whoever has seen a key does nothing the second time'
    assert said == ['it answers 503 Service Unavailable; alarms wait until it takes them', 'it takes alarms again']


def test_what_nobody_foresaw_is_said_and_the_next_attempt_comes(tmp_path, monkeypatch):
    """A file that cannot be read, then an answer that is no HTTP, then all is well."""
    monkeypatch.setattr('vmmjax.serving.live.outbox._FIRST', .05)
    said, listener, unreadable = [], socket.create_server(('127.0.0.1', 0)), tmp_path / '0.json'
    unreadable.mkdir()
    hook = Webhook(f'http://127.0.0.1:{listener.getsockname()[1]}/', tmp_path, said.append)
    until(lambda: said)
    assert said[0].startswith('IsADirectoryError: ')
    hook.post(alarm('a', 'start'))
    unreadable.rmdir()
    for line in (b'nonsense', b'HTTP/1.1 204 No Content'):
        connection, _ = listener.accept()
        with connection:
            while b'}' not in connection.recv(65536):
                pass
            connection.sendall(line + b'\r\n\r\n')
    until(lambda: not hook.waiting)
    until(lambda: len(said) > 1)
    hook.close(0)
    listener.close()
    assert said[1:] == ['it takes alarms again']


def test_an_answer_that_is_no_http_is_said_in_one_line(tmp_path):
    said, listener = [], socket.create_server(('127.0.0.1', 0))
    hook = Webhook(f'http://127.0.0.1:{listener.getsockname()[1]}/', tmp_path, said.append)
    hook.post(alarm('a', 'start'))
    connection, _ = listener.accept()
    with connection:
        connection.sendall(b'nonsense\r\n\r\n')
        until(lambda: said)
    hook.close(0)
    listener.close()
    assert said == ['BadStatusLine: nonsense; alarms wait until it takes them']


def test_a_file_that_is_no_alarm_holds_up_none(tmp_path):
    receiver, said = Receiver(), []
    receiver.up()
    for name, content in (('0', b'{"id": "a"'), ('1', b'{"id": "a"}'), ('2', b'[]'), ('3', b'\xff')):
        (tmp_path / f'{name}.json').write_bytes(content)
    hook = Webhook(receiver.address, tmp_path, said.append)
    hook.post(alarm('a', 'start'))
    until(lambda: not hook.waiting)
    hook.close(1)
    receiver.close()
    assert receiver.keys == ['a-0']
    assert [line.partition(';')[0] for line in said] == [f'{name}.json is no alarm' for name in range(4)]
    assert sorted(path.name for path in tmp_path.iterdir()) == [f'{name}.damaged' for name in range(4)]


@pytest.mark.parametrize('code', [301, 302, 303, 307, 308])
def test_a_redirect_is_no_receipt(tmp_path, code):
    receiver, other, said = Receiver(), Receiver(), []
    receiver.redirect = code, other.address
    receiver.up()
    other.up()
    hook = Webhook(receiver.address, tmp_path / 'spool', said.append)
    hook.post(alarm('a', 'start'))
    until(lambda: said)
    assert hook.waiting == 1
    hook.close(0)
    receiver.close()
    other.close()
    assert said[0].startswith(f'it answers {code} ')
    assert other.asked == []


@pytest.mark.parametrize('address', ['receiver', 'mqtt://receiver/', 'http://', 'http://:80/', 'http://receiver:0/',
                                     'http://receiver:99999/', 'http://receiver:port/', 'http://[::1/', 'https:/h',
                                     'http://me:secret@receiver/', 'http://receiver/a b', 'http://receiver/tür'])
def test_an_address_that_is_none_is_refused(address, tmp_path):
    with pytest.raises(UserError, match='--webhook takes an address'):
        check(address)
    with pytest.raises(UserError, match='--webhook takes an address'):
        Webhook(address, tmp_path / 'spool', print)
    assert not (tmp_path / 'spool').exists()


def test_an_address_may_have_a_port_and_a_query():
    check('https://example.org/alarms')
    check('http://[::1]:8080/a%20b?key=1')
