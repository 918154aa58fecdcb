"""What a soak is made of: servers of streams that are disturbed, the command that watches, a receiver of alarms.

Run as a program it is such a server: soak_parts.py PORT FILM KIND.
"""

import collections
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ('killed', 'away', 'stopped', 'garbage', 'another shape', 'no sound')
PAUSE = 30.0  # Seconds: the longest from one attempt to the next.
PATIENCE = 300.0  # Seconds for the command to begin, and for a source to come back.
DOWN, UP = 60.0, 180.0  # Seconds that the receiver of the webhook is away, and there.


def serve(port: int, path: str, kind: str) -> None:
    """Sends a film again and again to one client after the other; in a process of its own."""
    sound = threading.Event()
    sound.set()
    signal.signal(signal.SIGUSR1, lambda *_: sound.clear())
    signal.signal(signal.SIGUSR2, lambda *_: sound.set())
    with socket.create_server(('127.0.0.1', port)) as listener:
        print('listening', flush=True)
        while True:
            connection, _ = listener.accept()
            try:
                if kind == 'garbage':
                    connection.sendall(os.urandom(1 << 20))
                    connection.close()
                else:
                    _send(connection, path, sound)
            except (OSError, av.error.FFmpegError):
                connection.close()


def _send(connection: socket.socket, path: str, sound: threading.Event) -> None:
    """The film for ever, in real time."""
    began, offset = time.monotonic(), 0.0
    with connection.makefile('wb') as file, _transport_stream(file) as out:
        streams: dict[int, Any] = {}
        while True:
            with av.open(path) as film:
                for stream in film.streams:
                    if stream.index not in streams:
                        streams[stream.index] = out.add_stream_from_template(stream)
                first = end = 0.0
                for packet in film.demux():
                    if packet.dts is None:
                        continue
                    at = float(packet.dts * packet.time_base)
                    first, end = min(first, at), max(end, at + float((packet.duration or 0) * packet.time_base))
                    if packet.stream.type == 'audio' and not sound.is_set():
                        continue
                    time.sleep(max(0.0, began + offset + at - time.monotonic()))
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts = (packet.pts or 0) + shift, packet.dts + shift
                    packet.stream = streams[packet.stream_index]
                    out.mux(packet)
                    file.flush()
            offset += end - first  # Times of decoding begin before 0, and never go back.


def _transport_stream(file: Any) -> Any:
    """A container whose pictures do not wait for sound, and whose sound does not wait for more of it."""
    return av.open(file, 'w', format='mpegts', options={'max_interleave_delta': '100000', 'pes_payload_size': '0'})


class Server:
    """The process that sends."""

    def __init__(self, films: tuple[Path, Path]) -> None:
        """Begins to send the first of the films."""
        with socket.create_server(('127.0.0.1', 0)) as free:
            self.port = free.getsockname()[1]
        self._films = films
        self.begin('film')

    def begin(self, kind: str) -> None:
        """Begins to send."""
        self.process = subprocess.Popen(
            [sys.executable, __file__, str(self.port), str(self._films[0]), kind],
            env=environment(), stdout=subprocess.PIPE)
        assert self.process.stdout is not None
        self.process.stdout.readline()  # It listens.

    def end(self) -> None:
        """By SIGKILL."""
        self.process.kill()
        self.process.wait()

    def disturb(self, kind: str, chance: random.Random) -> None:
        """Makes a fault and mends it."""
        if kind == 'stopped':
            self.process.send_signal(signal.SIGSTOP)
            time.sleep(chance.uniform(1, 20))
            self.process.send_signal(signal.SIGCONT)
        elif kind == 'no sound':
            self.process.send_signal(signal.SIGUSR1)
            time.sleep(chance.uniform(5, 15))
            self.process.send_signal(signal.SIGUSR2)
        else:
            self.end()
            if kind == 'another shape':
                self._films = self._films[::-1]
            elif kind == 'garbage':
                self.begin(kind)
                time.sleep(chance.uniform(5, 15))
                self.end()
            else:
                time.sleep(chance.uniform(5, 15) if kind == 'away' else 0.0)
            self.begin('film')


class Camera(threading.Thread):
    """A server, and who disturbs it.

    Attributes:
      faults: what was done, and what followed.
      error: why it did not come back; None where it did.
    """

    def __init__(self, name: str, films: tuple[Path, Path], seed: str) -> None:
        """Begins to send; `start` begins to disturb."""
        super().__init__(name=name, daemon=True)
        self.server, self.faults, self.error = Server(films), list[dict[str, Any]](), ''
        self._chance = random.Random(seed)

    def watched(self, watch: 'Watch', seconds: float) -> None:
        """Whom to ask, and for how long to disturb."""
        self._watch, self._until = watch, time.monotonic() + seconds

    def finish(self) -> None:
        """No fault begins any more."""
        self._until = 0.0

    def run(self) -> None:
        """Disturbs until it is time, or says why it cannot."""
        try:
            self._disturb()
        except OSError as error:  # The page does not answer.
            self.error = f'{self.name}: {error}'

    def _disturb(self) -> None:
        """Each fault begins when the source has been back for longer than 10 s, which ends its back-off."""
        while True:
            time.sleep(self._chance.uniform(10.5, 14))
            if time.monotonic() > self._until:
                return
            kind = self._chance.choice(FAULTS)
            lines, began = self._watch.troubles(self.name), time.monotonic()
            self.server.disturb(kind, self._chance)
            mended, windows = time.monotonic(), self._watch.source(self.name)['windows']
            while (now := self._watch.source(self.name))['windows'] == windows or now['state'] != 'running':
                if self._watch.process.poll() is not None or time.monotonic() - mended > PATIENCE:
                    self.error = f'{self.name}, {kind}, is not back'
                    return
                time.sleep(0.1)
            back, away = time.monotonic() - mended, mended - began
            time.sleep(1.0)  # A line that says it is written by now.
            self.faults.append({
                'at': round(began - self._watch.began, 1), 'camera': self.name, 'kind': kind, 'away': round(away, 1),
                'back': round(back, 1), 'late': round(back - min(PAUSE, away + 1), 1),
                'lines': self._watch.troubles(self.name) - lines})


class Watch:
    """The command that is watched.

    Attributes:
      process: it.
      began: when it began to watch.
    """

    def __init__(self, folder: Path, cameras: list[Camera], run: Path, webhook: str, *flags: str) -> None:
        """Begins, and returns when it watches."""
        self._said = folder / 'said.txt'
        with self._said.open('w') as lines, (folder / 'told.jsonl').open('w') as told:
            self.process = subprocess.Popen(
                [sys.executable, '-m', 'vmmjax.cli.main', 'watch',
                 *(f'{camera.name}=tcp://127.0.0.1:{camera.server.port}' for camera in cameras), f'--weights={run}',
                 f'--output={folder / "out"}', '--page=127.0.0.1:0', '--before=2', '--after=2',
                 *([f'--webhook={webhook}'] if webhook else []), *flags],
                cwd=ROOT, env=environment(), stdout=told, stderr=lines)
        began = time.monotonic()
        while 'see http' not in self._said.read_text():
            if time.monotonic() - began > PATIENCE or self.process.poll() is not None:
                self.process.kill()
                sys.exit(f'The command does not begin: {self._said.read_text()}')
            time.sleep(0.5)
        self._address = self._said.read_text().partition('see ')[2].split()[0]
        self.began = time.monotonic()

    def source(self, name: str) -> dict[str, Any]:
        """What its page says of a source."""
        with urllib.request.urlopen(f'{self._address}status.json', timeout=60) as answer:
            return next(source for source in json.load(answer)['sources'] if source['name'] == name)

    def waiting(self) -> int:
        """How many messages the receiver does not have yet."""
        with urllib.request.urlopen(f'{self._address}status.json', timeout=60) as answer:
            return json.load(answer)['waiting']

    def lines(self) -> list[str]:
        """What it has said."""
        return self._said.read_text().splitlines()

    def troubles(self, name: str) -> int:
        """How many lines say that something is wrong with a source."""
        return sum(f' {name}: ' in line and not line.endswith((' running again', ' is back')) for line in self.lines())

    def memory(self) -> float:
        """Megabytes that are resident."""
        lines = Path(f'/proc/{self.process.pid}/status').read_text().splitlines()
        return next((int(line.split()[1]) for line in lines if line.startswith('VmRSS')), 0) / 1024


def environment() -> dict[str, str]:
    """One device, as a user has."""
    return {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'} | {
        'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}


class Receiver(threading.Thread):
    """The receiver of a webhook, which is there and away by turns.

    Attributes:
      keys: of the messages it took, as often as they came.
      times: how often it was away.
    """

    def __init__(self) -> None:
        """Begins to listen; `start` begins to go away."""
        super().__init__(daemon=True)
        self.keys, self.times, self._over = collections.Counter[str](), 0, threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers['Content-Length']))
                receiver.keys[self.headers['Idempotency-Key']] += 1
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing."""

        self._handler, self._port = Handler, 0
        self._listen()

    @property
    def address(self) -> str:
        """Where it listens."""
        return f'http://127.0.0.1:{self._port}/alarms'

    def run(self) -> None:
        """Comes and goes until it is closed."""
        while not self._over.wait(UP):
            self._server.shutdown()
            self._server.server_close()
            self.times += 1
            self._over.wait(DOWN)
            self._listen()

    def close(self) -> None:
        """It stays from now on."""
        self._over.set()
        self.join()

    def _listen(self) -> None:
        self._server = ThreadingHTTPServer(('127.0.0.1', self._port), self._handler)
        self._port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()


if __name__ == '__main__':
    serve(int(sys.argv[1]), sys.argv[2], sys.argv[3])
