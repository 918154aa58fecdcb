"""Servers on loopback that do what they are told, fault by fault."""

import io
import json
import shutil
import socket
import struct
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import pytest


def transport_stream(path):
    """A file as an MPEG-TS stream: [seconds that are sent whole by then, bytes up to there], and the bytes."""
    out, cuts = io.BytesIO(), []
    with av.open(str(path)) as source, av.open(out, 'w', format='mpegts') as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is None:
                continue
            cuts.append((float(packet.dts * packet.time_base), out.tell()))
            packet.stream = streams[packet.stream_index]
            container.mux(packet)
    return cuts, out.getvalue()


class StreamServer:
    """Sends bytes over TCP to whoever connects.

    Its port is taken, and refuses connections until `listen`.
    """

    def __init__(self):
        self.listener = None
        self.port = 0
        self._bind()

    @property
    def address(self):
        return f'tcp://127.0.0.1:{self.port}'

    def listen(self):
        self.listener.listen(1)

    def accept(self, seconds=60):
        """The next connection."""
        self.listener.settimeout(seconds)
        connection, _ = self.listener.accept()
        return connection

    def refuse(self):
        """Refuses connections again."""
        self.listener.close()
        self._bind()

    def _bind(self):
        self.listener = socket.socket()
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(('127.0.0.1', self.port))
        self.port = self.listener.getsockname()[1]


class Receiver:
    """Takes what a webhook posts; the first answer to each message is lost if `forgets`, or all are redirected."""

    def __init__(self, forgets=False):
        self.found, self.keys, self.asked = [], [], []
        self.redirect = None  # A status, and where to.
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                receiver.asked.append('GET')
                self.send_response(200)
                self.end_headers()

            def do_POST(self):
                content = json.loads(self.rfile.read(int(self.headers['Content-Length'])))
                receiver.asked.append('POST')
                if receiver.redirect:
                    self.send_response(receiver.redirect[0])
                    self.send_header('Location', receiver.redirect[1])
                    self.end_headers()
                    return
                again = content in receiver.found
                receiver.found.append(content)
                receiver.keys.append(self.headers['Idempotency-Key'])
                self.send_response(503 if forgets and not again else 204)
                self.end_headers()

            def log_message(self, *_):
                pass

        self._handler = Handler
        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler, bind_and_activate=False)
        self._server.server_bind()

    @property
    def address(self):
        return f'http://127.0.0.1:{self._server.server_address[1]}/alarms'

    def up(self):
        """Before, connections are refused."""
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.server_close()


class FileServer:
    """A folder over HTTP, as the standard library serves it."""

    def __init__(self, folder):
        class Handler(SimpleHTTPRequestHandler):
            def __init__(self, *arguments):
                super().__init__(*arguments, directory=str(folder))

            def log_message(self, *_):
                pass

        self._server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
        self.address = f'http://127.0.0.1:{self._server.server_address[1]}'
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self):
        self._server.shutdown()
        self._server.server_close()


class RtspServer:
    """The least of RTSP (RFC 2326) that plays a transport stream: RTP (RFC 2250) in the connection, to one client."""

    def __init__(self, stream):
        self._stream = stream
        self._listener = socket.create_server(('127.0.0.1', 0))
        self.address = f'rtsp://name:secret@127.0.0.1:{self._listener.getsockname()[1]}/live'
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self):
        self._listener.close()

    def _serve(self):
        connection, _ = self._listener.accept()
        with connection, connection.makefile('rb') as lines:
            while True:
                request = lines.readline().split()
                head = dict(line.split(b': ', 1) for line in iter(lambda: lines.readline().strip(), b''))
                if not request:
                    return
                extra, body = [], b''
                if request[0] == b'DESCRIBE':
                    body = b'v=0\r\ns=live\r\nt=0 0\r\nm=video 0 RTP/AVP 33\r\na=control:track\r\n'
                    extra = ['Content-Type: application/sdp', f'Content-Length: {len(body)}']
                elif request[0] == b'SETUP':
                    extra = ['Transport: RTP/AVP/TCP;unicast;interleaved=0-1']
                elif request[0] == b'OPTIONS':
                    extra = ['Public: OPTIONS, DESCRIBE, SETUP, PLAY, TEARDOWN']
                answer = ['RTSP/1.0 200 OK', f'CSeq: {head[b"CSeq"].decode()}', 'Session: 1', *extra, '', '']
                connection.sendall('\r\n'.join(answer).encode() + body)
                if request[0] == b'PLAY':
                    self._play(connection)
                    return

    def _play(self, connection):
        size = 7 * 188
        for number, first in enumerate(range(0, len(self._stream), size)):
            part = struct.pack('>BBHII', 0x80, 33, number & 0xFFFF, 3600 * number, 7) + self._stream[first:first + size]
            connection.sendall(struct.pack('>cBH', b'$', 0, len(part)) + part)


class GStreamer:
    """The RTSP server of GStreamer plays a file in real time, from its beginning for each who comes after its end.

    Attributes:
      began: seconds since 1970 when the film began, for each time.
    """

    def __init__(self, film):
        python = shutil.which('python3', path='/usr/bin')  # Debian's packages are for this one.
        script = Path(__file__).with_name('rtsp.py')
        self.process = python and subprocess.Popen([python, str(script), str(film)], stdout=subprocess.PIPE,
                                                   stderr=subprocess.DEVNULL, text=True)
        port = python and self.process.stdout.readline().strip()
        if not port:
            pytest.skip('needs the RTSP server of GStreamer, which is not installed here; .ci/run names the packages')
        self.address, self.began = f'rtsp://127.0.0.1:{port}/film', []
        threading.Thread(target=self._read, daemon=True).start()

    def close(self):
        self.process.kill()
        self.process.wait()

    def _read(self):
        for line in self.process.stdout:
            self.began.append(float(line))
