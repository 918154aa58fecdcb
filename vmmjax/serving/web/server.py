"""The page's server: uploads and what was made of them, on one machine, for whoever may reach its address.

    GET  /                       the page
    GET  /status.json            the queue, and the live sources where there are some
    PUT  /clips                  a file as the body, its name (percent-encoded) as X-File-Name: the `id` of a job
    GET  /clips/ID/view.json     what the page shows of a job that is done
    GET  /clips/ID/prediction.json   what can be downloaded
    GET  /clips/ID/NAME          a file of it; NAME is one of those that the job has, and no path

A page of another origin can send no PUT (browsers ask first, and are not answered), and a request under another
host's name is refused, so that no name that leads here by its address (DNS rebinding) reads what is here.
"""

import errno
import json
import re
import time
import urllib.parse
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import printable
from vmmjax.serving.listening import NOT_OURS, Listening
from vmmjax.serving.web.jobs import Job, Jobs

_PIECE = 1 << 16  # Bytes that are read and written at a time.
_PATIENCE = 30.0  # Seconds without a byte after which a connection is given up.
_HEARING_OUT = 1.0  # Seconds in which the rest of a refused upload is read, so that the refusal is.
_KINDS = {'.mp4': 'video/mp4', '.png': 'image/png'}
# Of what is no page: nothing may be run or loaded in it.
_NOTHING = "default-src 'none'; sandbox; frame-ancestors 'none'"


class Server(Listening):
    """Serves until it is closed."""

    def __init__(self, where: str, jobs: Jobs, *, page: str, policy: str, most_bytes: int,
                 live: Callable[[], Mapping[str, Any] | None]) -> None:
        """Begins to serve.

        Args:
          where: host:port; without a host 127.0.0.1; port 0 is any that is free.
          jobs: of the uploads.
          page: HTML.
          policy: its Content-Security-Policy.
          most_bytes: of an upload.
          live: what the live sources are doing, plain JSON values; None where there are none.

        Raises:
          UserError: where the address is none, or is in use.
        """
        self.jobs, self.page, self.policy, self.most_bytes, self.live = jobs, page.encode(), policy, most_bytes, live
        super().__init__(where, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: Server
    timeout = _PATIENCE
    server_version, sys_version = 'vmmjax', ''

    def do_GET(self) -> None:
        """A page, its data, or a file of a job."""
        if not self._is_for_us():
            return
        found = re.fullmatch(r'/clips/([0-9a-f]{32})/([\w.-]{1,80})', self.path)
        if self.path == '/':
            self._send(200, self.server.page, 'text/html; charset=utf-8', {
                'Content-Security-Policy': self.server.policy, 'Referrer-Policy': 'no-referrer'})
        elif self.path == '/status.json':
            self._say(200, {'jobs': self.server.jobs.listed(), 'is_full': self.server.jobs.is_full,
                            'live': self.server.live()})
        elif found and (job := self.server.jobs.get(found[1])) is not None and job.found is not None:
            self._send_of(job, found[2])
        else:
            self._refuse(404, 'There is nothing here.')

    def do_PUT(self) -> None:
        """Takes a file, no byte more than may be, and never more than it said."""
        if not self._is_for_us():
            return
        if self.path != '/clips':
            self._refuse(404, 'Files are put to /clips.')
            return
        length = self.headers.get('Content-Length', '')
        if not re.fullmatch(r'[0-9]{1,18}', length) or 'Transfer-Encoding' in self.headers:
            self._refuse(411, 'Say how long the file is, as Content-Length.')
            return
        if int(length) > self.server.most_bytes:
            self._refuse(413, f'The file has {int(length) / 1e6:.0f} MB, and at most '
                              f'{self.server.most_bytes / 1e6:.0f} MB may be sent; cut it, or start the server with a '
                              f'larger --most_mb.')
            return
        name = printable(urllib.parse.unquote(self.headers.get('X-File-Name', 'file'), errors='replace'))[:200]
        job: Job | None = None
        try:
            job = self.server.jobs.begin(name)
            whole = self._receive(job, int(length))
        except UserError as error:
            self._refuse(503, str(error))
            return
        except OSError as error:
            if job is not None:
                self.server.jobs.discard(job)
            if isinstance(error, ConnectionError | TimeoutError):
                self.close_connection = True
            elif error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                self._refuse(507, 'The disk of the server is full; make room in its temporary folder.')
            else:
                self._refuse(500, f'The server cannot write to its temporary folder ({error.strerror}); start it '
                                  f'again.')
            return
        if not whole:
            self.server.jobs.discard(job)
            self._refuse(400, 'The file came to an end before its length.')
            return
        self.server.jobs.submit(job)
        self._say(201, {'id': job.id})

    def log_message(self, *_: Any) -> None:
        """Nothing: who looks is not logged."""

    def _receive(self, job: Job, length: int) -> bool:
        """Writes the body as it comes; whether all of it came."""
        left = length
        with job.upload.open('r+b') as file:
            while left:
                piece = self.rfile.read1(min(left, _PIECE))
                if not piece:
                    return False
                file.write(piece)
                left -= len(piece)
        return True

    def _is_for_us(self) -> bool:
        """Whether a request came under a name of this server, and from no page of another one."""
        host = self.headers.get('Host', '')
        origin = self.headers.get('Origin')
        if self.server.is_asked(host) and origin in (None, f'http://{host}', f'https://{host}'):
            return True
        self._refuse(403, NOT_OURS)
        return False

    def _send_of(self, job: Job, name: str) -> None:
        assert job.found is not None
        if name == 'view.json':
            self._say(200, job.found.view)
        elif name == 'prediction.json':
            self._say(200, job.found.prediction, {'Content-Disposition': 'attachment; filename="prediction.json"'})
        elif (path := job.file(name)) is not None:
            self._send_file(path)
        else:
            self._refuse(404, 'There is nothing here.')

    def _send_file(self, path: Path) -> None:
        """A file, or the part of it that is asked for (RFC 9110, section 14), as players do."""
        try:
            file = path.open('rb')
        except FileNotFoundError:  # It was forgotten just now.
            self._refuse(404, 'There is nothing here.')
            return
        with file:
            size = file.seek(0, 2)
            first, end, status = 0, size, 200
            asked = re.fullmatch(r'bytes=(?!-$)([0-9]{0,18})-([0-9]{0,18})', self.headers.get('Range', ''))
            if asked:
                first = int(asked[1]) if asked[1] else max(0, size - int(asked[2]))
                end = min(size, int(asked[2]) + 1) if asked[1] and asked[2] else size
                status = 206
                if first >= end:
                    self._send(416, b'', 'text/plain', {'Content-Range': f'bytes */{size}'})
                    return
            file.seek(first)
            left = end - first
            try:
                self._head(status, left, _KINDS.get(path.suffix, 'video/mp4'), {
                    'Accept-Ranges': 'bytes',
                    **({'Content-Range': f'bytes {first}-{end - 1}/{size}'} if asked else {})})
                while left and (piece := file.read(min(left, _PIECE))):
                    self.wfile.write(piece)
                    left -= len(piece)
            except OSError:  # Who looked has seen enough.
                self.close_connection = True

    def _refuse(self, status: int, sentence: str) -> None:
        """Answers with a sentence; hears a file out for a moment, since else the answer may be lost."""
        self.close_connection = True
        self._say(status, {'error': sentence})
        if self.command != 'PUT':
            return
        length = self.headers.get('Content-Length', '')
        unread = int(length) if re.fullmatch('[0-9]{1,18}', length) else _PIECE
        end = time.monotonic() + _HEARING_OUT
        try:
            self.connection.settimeout(_HEARING_OUT)
            while unread > 0 and time.monotonic() < end and (piece := self.rfile.read1(_PIECE)):
                unread -= len(piece)
        except OSError:
            pass

    def _say(self, status: int, values: Any, more: Mapping[str, str] | None = None) -> None:
        try:
            content = json.dumps(values, allow_nan=False)
        except ValueError:  # NaN is no JSON.
            status, more = 500, None
            content = json.dumps({'error': 'There are numbers in it that are NaN or infinite, which JSON has not.'})
        self._send(status, content.encode(), 'application/json', more)

    def _send(self, status: int, content: bytes, kind: str, more: Mapping[str, str] | None = None) -> None:
        try:
            self._head(status, len(content), kind, more or {})
            self.wfile.write(content)
        except OSError:
            self.close_connection = True

    def _head(self, status: int, length: int, kind: str, more: Mapping[str, str]) -> None:
        self.send_response(status)
        headers = {'Content-Type': kind, 'Content-Length': str(length), 'Content-Security-Policy': _NOTHING,
                   'X-Content-Type-Options': 'nosniff', 'Cross-Origin-Resource-Policy': 'same-origin',
                   'Cache-Control': 'no-store', **more}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
