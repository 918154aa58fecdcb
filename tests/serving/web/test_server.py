"""The server over real sockets, with what would be made of files left out."""

import errno
import http.client
import json
import shutil
import socket
import struct
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.serving.web.browser import Browser
from vmmjax.errors import UserError
from vmmjax.reports import serve_page
from vmmjax.serving.web.jobs import Found, Jobs
from vmmjax.serving.web.server import Server

MOST = 1000


def work(path, name, folder):
    (folder / 'rgb.mp4').write_bytes(bytes(range(100)))
    if name == 'nan':
        return Found({'value': float('nan')}, {'value': float('inf')}, {})
    return Found({'name': name, 'bytes': path.stat().st_size}, {'clip': name}, {'rgb.mp4': folder / 'rgb.mp4'})


class Client:
    def __init__(self, server, folder):
        self.folder, self.host = folder, urlsplit(server.address).netloc

    def ask(self, method, path, body=None, **headers):
        """Status, headers and body."""
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path, body, {name.replace('_', '-'): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()

    def raw(self, *parts, seconds=60):
        """What comes back to bytes as they are."""
        host, port = self.host.split(':')
        with socket.create_connection((host, int(port)), timeout=seconds) as connection:
            for part in parts:
                connection.sendall(part)
            connection.shutdown(socket.SHUT_WR)
            return b''.join(iter(lambda: connection.recv(1 << 16), b''))

    def put(self, content, name='clip.mp4'):
        """The id of a job that is done."""
        status, _, body = self.ask('PUT', '/clips', content, X_File_Name=name)
        assert status == 201, body
        number = json.loads(body)['id']
        for _ in range(500):
            (job,) = [each for each in self.jobs() if each['id'] == number]
            if job['state'] == 'done':
                return number
            time.sleep(.01)
        raise AssertionError(job)

    def jobs(self):
        return json.loads(self.ask('GET', '/status.json')[2])['jobs']

    def uploads(self):
        return list(self.folder.iterdir())


@pytest.fixture
def client(tmp_path):
    folder = tmp_path / 'temporary'
    folder.mkdir()
    jobs = Jobs(folder, work, print)
    server = Server('127.0.0.1:0', jobs, page='<p>page', policy="default-src 'none'", most_bytes=MOST,
                    live=lambda: {'sources': []})
    yield Client(server, folder)
    server.close()
    jobs.close()


def test_a_file_is_taken_judged_and_shown(client):
    status, headers, body = client.ask('GET', '/')
    assert (status, body) == (200, b'<p>page')
    assert headers['Content-Security-Policy'] == "default-src 'none'"
    assert headers['X-Content-Type-Options'] == 'nosniff'
    number = client.put(b'x' * MOST, 'a%20b%3C%2F%3E%0A..%2F.mp4')
    view = json.loads(client.ask('GET', f'/clips/{number}/view.json')[2])
    assert view == {'name': 'a b</>\\n../.mp4', 'bytes': MOST}
    status, headers, body = client.ask('GET', f'/clips/{number}/prediction.json')
    assert 'attachment' in headers['Content-Disposition']
    assert json.loads(body) == {'clip': view['name']}
    assert client.ask('GET', f'/clips/{number}/clip')[2] == b'x' * MOST
    assert json.loads(client.ask('GET', '/status.json')[2])['live'] == {'sources': []}


@pytest.mark.parametrize(('asked', 'status', 'first', 'end'), [
    ('bytes=0-', 206, 0, 100), ('bytes=10-19', 206, 10, 20), ('bytes=90-500', 206, 90, 100),
    ('bytes=-7', 206, 93, 100), ('bytes=-700', 206, 0, 100), ('bytes=-', 200, 0, 100),
    ('bytes=1-2,5-6', 200, 0, 100), ('lines=1-2', 200, 0, 100)])
def test_players_ask_for_parts(client, asked, status, first, end):
    number = client.put(b'x')
    found, headers, body = client.ask('GET', f'/clips/{number}/rgb.mp4', Range=asked)
    assert (found, body) == (status, bytes(range(first, end)))
    assert headers['Content-Type'] == 'video/mp4'
    assert headers.get('Content-Range') == (f'bytes {first}-{end - 1}/100' if status == 206 else None)


@pytest.mark.parametrize('asked', ['bytes=100-', 'bytes=5-4', 'bytes=-0'])
def test_a_part_that_is_none_is_refused(client, asked):
    status, headers, body = client.ask('GET', f'/clips/{client.put(b"x")}/rgb.mp4', Range=asked)
    assert (status, headers['Content-Range'], body) == (416, 'bytes */100', b'')


def test_more_than_may_be_sent_is_refused_before_a_byte_is_written(client):
    status, _, body = client.ask('PUT', '/clips', b'x' * (MOST + 1))
    assert status == 413
    assert 'at most 0 MB may be sent' in json.loads(body)['error']
    assert client.uploads() == client.jobs() == []


def test_no_more_is_written_than_was_announced(client):
    host = f'Host: {client.host}\r\n'.encode()
    answer = client.raw(b'PUT /clips HTTP/1.1\r\n' + host + b'Content-Length: 5\r\n\r\n', b'x' * 10_000)
    assert b' 201 ' in answer
    (folder,) = client.uploads()
    assert (folder / 'upload').read_bytes() == b'xxxxx'


@pytest.mark.parametrize('head', [b'', b'Transfer-Encoding: chunked\r\n', b'Content-Length: -1\r\n',
                                  b'Content-Length: 9999999999999999999999\r\n', b'Content-Length: 0x10\r\n',
                                  b'Content-Length: 5\r\nTransfer-Encoding: chunked\r\n'])
def test_who_does_not_say_how_much_comes_is_refused(client, head):
    host = f'Host: {client.host}\r\n'.encode()
    answer = client.raw(b'PUT /clips HTTP/1.1\r\n' + host + head + b'\r\n', b'5\r\nhello\r\n0\r\n\r\n')
    assert b' 411 ' in answer
    assert client.uploads() == []


def test_an_upload_that_is_cut_off_leaves_nothing(client):
    host = f'Host: {client.host}\r\n'.encode()
    assert b' 400 ' in client.raw(b'PUT /clips HTTP/1.1\r\n' + host + b'Content-Length: 500\r\n\r\n', b'x' * 100)
    assert client.uploads() == client.jobs() == []


@pytest.mark.parametrize('path', [
    '/../../etc/passwd', '/clips/../../etc/passwd', '/clips/{id}/../../../etc/passwd', '/clips/{id}/..%2Fupload',
    '/clips/{id}/upload', '/clips/{id}/', '/clips/{id}', '//etc/passwd', '/clips/{id}/rgb.mp4%00', '/status.json?x',
    '/clips/' + 32 * '0' + '/clip', '/clips/..'])
def test_a_path_is_no_path(client, path):
    number = client.put(b'x')
    status, _, body = client.ask('GET', path.format(id=number))
    assert (status, json.loads(body)) == (404, {'error': 'There is nothing here.'})


@pytest.mark.parametrize('name', ['../../evil.mp4', '/etc/evil', '..%2F..%2Fevil', '%00', '%ff%fe', '.', '..',
                                  'x' * 9000, 'CON', '$(touch evil)', '%0D%0AX: y', '-rf'])
def test_a_name_is_no_path(client, name, tmp_path):
    before = set(tmp_path.rglob('*'))
    number = client.put(b'x', name)
    made = set(tmp_path.rglob('*')) - before
    folder = client.folder / number
    assert made == {folder, folder / 'upload', folder / 'rgb.mp4'}
    assert not Path('evil').exists()


@pytest.mark.parametrize('headers', [{'Host': 'evil.example'}, {'Host': 'evil.example:80'}, {'Host': ''},
                                     {'Origin': 'http://evil.example'}, {'Origin': 'null'},
                                     {'Host': '127.0.0.1@evil'}, {'Host': '[::'}, {'Host': '192.0.2.1'}])
def test_another_name_or_another_page_is_not_answered(client, headers):
    assert client.ask('GET', '/status.json', **headers)[0] == 403
    assert client.ask('PUT', '/clips', b'x', **headers)[0] == 403
    assert client.uploads() == []
    port = client.host.split(':')[1]
    assert client.ask('GET', '/status.json', Host=f'localhost:{port}')[0] == 200
    assert client.ask('GET', '/status.json', Origin=f'http://{client.host}')[0] == 200


def test_a_temporary_folder_that_is_gone_or_full_is_said(client, monkeypatch, tmp_path):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, 'No space left on device')

    with monkeypatch.context() as patched:
        patched.setattr(Path, 'mkdir', full)
        status, _, body = client.ask('PUT', '/clips', b'x')
    assert (status, json.loads(body)['error'][:31]) == (507, 'The disk of the server is full;')
    shutil.rmtree(client.folder)
    status, _, body = client.ask('PUT', '/clips', b'x')
    assert status == 500
    assert 'cannot write to its temporary folder (No such file or directory); start it' in json.loads(body)['error']
    assert str(tmp_path) not in body.decode()
    assert client.jobs() == []


def test_a_connection_that_is_reset_is_no_fault_of_the_server(client, capfd):
    number = client.put(b'x')
    host, port = client.host.split(':')
    for sent in (b'GET / HT', f'GET /clips/{number}/clip HTTP/1.1\r\nHost: {client.host}\r\n\r\n'.encode()):
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(sent)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    assert client.ask('GET', '/')[0] == 200
    time.sleep(.1)
    assert capfd.readouterr().err == ''


def test_what_is_not_finite_is_no_json(client):
    number = client.put(b'x', 'nan')
    for name in ('view', 'prediction'):
        status, _, body = client.ask('GET', f'/clips/{number}/{name}.json')
        assert (status, 'NaN or infinite' in json.loads(body)['error']) == (500, True)


@pytest.mark.slow
def test_more_files_than_may_wait_are_sent_when_there_is_room(tmp_path):
    files, may = [tmp_path / f'{number:02}.mp4' for number in range(11)], threading.Event()
    for file in files:
        file.write_bytes(b'x')
    (tmp_path / 'temporary').mkdir()
    jobs = Jobs(tmp_path / 'temporary', lambda *given: may.wait(60) and work(*given), print)
    page = serve_page.page('run', most_bytes=MOST, longest=60, live=False)
    server = Server('127.0.0.1:0', jobs, page=page, policy=serve_page.policy(page), most_bytes=MOST, live=lambda: None)
    browser = Browser(tmp_path / 'profile')
    try:
        browser.open(server.address)
        browser.drop('#drop', *files)
        browser.until('document.body.innerText.includes("waits until the server takes another file")')
        assert len(jobs.listed()) == 8
        may.set()
        browser.until('document.querySelectorAll("#queue .state.done").length === 11')
        assert [job['name'] for job in reversed(jobs.listed())] == [file.name for file in files]
        server.close()
        browser.drop('#drop', files[0])
        browser.until('document.body.innerText.includes("the server cannot be reached")')
    finally:
        browser.close()
        may.set()
        jobs.close()


@pytest.mark.parametrize('method', ['POST', 'DELETE', 'OPTIONS', 'TRACE'])
def test_nothing_else_can_be_asked(client, method):
    assert client.ask(method, '/clips')[0] == 501


@pytest.mark.parametrize('where', ['nowhere', '127.0.0.1:99999', '127.0.0.1', '::1:0x'])
def test_an_address_that_is_none_is_refused(where, tmp_path):
    with pytest.raises(UserError, match='--page=HOST:PORT'):
        Server(where, Jobs(tmp_path, work, print), page='', policy='', most_bytes=1, live=lambda: None)


def test_one_that_is_open_is_asked_by_an_address_or_a_name_of_this_machine(tmp_path):
    jobs = Jobs(tmp_path, work, print)
    server = Server('0.0.0.0:0', jobs, page='', policy='', most_bytes=1, live=lambda: None)
    port = urlsplit(server.address).port
    assert urlsplit(server.address).hostname != '0.0.0.0'
    for host, is_ours in ((f'{socket.gethostname()}:{port}', True), (socket.getfqdn(), True),
                          (f'192.0.2.7:{port}', True), ('[2001:db8::1]', True), ('localhost', True),
                          (urlsplit(server.address).netloc, True),
                          ('evil.example', False), (f'evil.example:{port}', False), ('192.0.2.7.evil.example', False),
                          ('', False)):
        connection = http.client.HTTPConnection('127.0.0.1', port, timeout=60)
        connection.request('GET', '/status.json', headers={'Host': host})
        assert connection.getresponse().status == (200 if is_ours else 403), host
        connection.close()
    server.close()
    jobs.close()


def test_only_what_this_machine_alone_reaches_is_not_open(tmp_path):
    jobs = Jobs(tmp_path, work, print)
    for where, is_open in (('localhost:0', False), (':0', False), ('127.0.0.2:0', False), ('0.0.0.0:0', True)):
        server = Server(where, jobs, page='', policy='', most_bytes=1, live=lambda: None)
        assert server.is_open is is_open
        server.close()
    jobs.close()
