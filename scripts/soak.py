"""Watches live streams that are disturbed again and again, and says what became of them.

  scripts/soak --minutes=60 --seed=0 --write

`vmmjax watch` reads MPEG-TS streams over TCP, each from a server in a process of its own, which sends a film with
events again and again as fast as it was recorded. A server is killed, is away, is stopped for 1 to 20 s, sends garbage
or pictures of another shape, or sends no sound for a while; with four cameras that is well over 50 faults in 10
minutes. Meanwhile the receiver of the webhook is away for 60 s of every 4 minutes.

What must hold: the command never ends; a source is judged again within its pause (at most 30 s, and no longer than it
was away and 1 s) and 5 s more; memory does not grow by more than 100 MB after the first minute; a fault is one line;
at the end every frame was used or dropped, every alarm has ended, and the receiver has every message, and acts on none
twice. Ctrl-C ends it early, and it says what it has seen. --log is a file with a line for every fault.

--slow watches a stream without faults by a network that takes five times as long as it is from window to window: it
must never be later than two windows, and every frame must be used or dropped.

--write puts the figures of the faults into experiments/results/live.md.
"""

import argparse
import collections
import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import av

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ('killed', 'away', 'stopped', 'garbage', 'another shape', 'no sound')
PAUSE, MORE = 30.0, 5.0  # Seconds: the longest pause, and what may be added to a pause.
PATIENCE = 300.0  # Seconds for the command to begin, and for a source to come back.
PART = 600.0  # Seconds of a row of the table.
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
            [sys.executable, __file__, '--serve', str(self.port), str(self._films[0]), kind],
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


def make_run(folder: Path, **options: Any) -> tuple[Path, tuple[Path, Path]]:
    """A run, and a film in two shapes."""
    # Not at the top: a server is to begin at once.
    from tests.serving.live import lights
    from vmmjax.media.writer import write_clip

    store = lights.make_store(folder)
    pictures, sound = lights.film(lights.EVENTS['film.mp4'])
    write_clip(folder / 'other_shape.mp4', pictures[:, :, :12].repeat(2, 1), fps=lights.FPS, waveform=sound,
               rate=lights.RATE, group=5)
    return lights.save_run(folder / 'run', store, **options), (folder / 'film.mp4', folder / 'other_shape.mp4')


def soak(folder: Path, minutes: float, seed: int, cameras: int, log: Path | None) -> dict[str, Any]:
    """Watches, disturbs, and returns the figures."""
    run, films = make_run(folder)
    watched = [Camera(f'camera{number}', films, f'{seed}/{number}') for number in range(cameras)]
    receiver = Receiver()
    watch = Watch(folder, watched, run, receiver.address)
    try:
        receiver.start()
        for camera in watched:
            camera.watched(watch, 60 * minutes)
            camera.start()
        memory: list[tuple[float, float]] = []
        faults: list[dict[str, Any]] = []
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: [camera.finish() for camera in watched])
        while any(camera.is_alive() for camera in watched) and watch.process.poll() is None:
            time.sleep(5.0)
            memory.append((time.monotonic() - watch.began, watch.memory()))
            faults = sorted((fault for camera in watched for fault in camera.faults), key=lambda fault: fault['at'])
            if log is not None:
                log.write_text('\n'.join(json.dumps(fault) for fault in faults) + '\n')
        receiver.close()
        while watch.waiting() and watch.process.poll() is None:
            time.sleep(1.0)
        watch.process.send_signal(signal.SIGTERM)
        code = watch.process.wait(60)
    finally:
        watch.process.kill()
        for camera in watched:
            camera.server.end()
        if log is not None:
            log.with_suffix('.said').write_text('\n'.join(watch.lines()) + '\n')
    return {'minutes': round(memory[-1][0] / 60, 1), 'status at the end': code,
            'not back': [camera.error for camera in watched if camera.error], 'faults': faults, 'memory': memory,
            } | ended(folder, watch.lines(), receiver, cameras)


def ended(folder: Path, lines: list[str], receiver: Receiver, cameras: int) -> dict[str, Any]:
    """What the command told and said."""
    messages = [json.loads(line) for line in (folder / 'told.jsonl').read_text().splitlines()]
    alarms = {message['id'] for message in messages}
    told = {f'{message["id"]}-{message["number"]}' for message in messages}
    counts = [[int(number) for number in re.findall(r'(\d+) (?:frames|used|dropped)', line)]
              for line in lines[-cameras:]]
    clips = list((folder / 'out' / 'clips').iterdir())
    return {'alarms': len(alarms), 'messages': len(told), 'messages told twice': len(messages) - len(told),
            'alarms without an end': len(alarms) - sum(message['state'] == 'end' for message in messages),
            'tracebacks': sum('Traceback' in line for line in lines),
            'receiver away': receiver.times, 'messages lost': len(told - set(receiver.keys)),
            'messages that came twice': sum(times > 1 for times in receiver.keys.values()),
            'clips': len(clips), 'clips that do not play': sum(not plays(clip) for clip in clips),
            'frames, used, dropped': counts}


def plays(clip: Path) -> bool:
    """Whether every picture of a clip can be decoded."""
    try:
        with av.open(str(clip)) as container:
            return sum(1 for _ in container.decode(video=0)) > 0
    except av.error.FFmpegError:
        return False


def bad(found: dict[str, Any]) -> list[str]:
    """What must hold and did not."""
    flat = [megabytes for at, megabytes in found['memory'] if at > 60]
    return [text for text, wrong in {
        'the command ended': found['status at the end'] != 0,
        'a source did not come back': found['not back'],
        f'a source came back {MORE:g} s after its pause': any(fault['late'] > MORE for fault in found['faults']),
        'a fault was more than a line': any(fault['lines'] > 1 for fault in found['faults']),
        'memory grew by 100 MB': max(flat, default=0) - flat[0] > 100 if flat else False,
        'a traceback': found['tracebacks'], 'an alarm has no end': found['alarms without an end'],
        'a message was lost': found['messages lost'],
        'frames were neither used nor dropped': any(
            frames != used + dropped for frames, used, dropped in found['frames, used, dropped']),
    }.items() if wrong]


def page(found: dict[str, Any]) -> list[str]:
    """The figures in Markdown."""
    parts = collections.defaultdict[int, list[dict[str, Any]]](list)
    for fault in found['faults']:
        parts[int(fault['at'] // PART)].append(fault)
    rows = ['| minutes | ' + ' | '.join(FAULTS) + ' | faults | back after (s): median, slowest | beyond its pause (s) '
            '| lines a fault, at most | memory (MB) |', '|---|' + '---|' * (len(FAULTS) + 5)]
    for number, faults in sorted(parts.items()):
        kinds = collections.Counter(fault['kind'] for fault in faults)
        back = sorted(fault['back'] for fault in faults)
        memory = [megabytes for at, megabytes in found['memory'] if int(at // PART) == number and at > 60]
        rows.append(' | '.join(
            [f'| {number * PART / 60:g} to {(number + 1) * PART / 60:g}', *(str(kinds[kind]) for kind in FAULTS),
             str(len(faults)), f'{back[len(back) // 2]:g}, {back[-1]:g}', f'{max(fault["late"] for fault in faults):g}',
             str(max(fault['lines'] for fault in faults)),
             f'{min(memory):.0f} to {max(memory):.0f} |' if memory else '|']))
    rest = [f'- {name}: {value}' for name, value in found.items() if name not in ('faults', 'memory')]
    return [*rows, '', *rest, f'- What fell short: {"; ".join(bad(found)) or "nothing"}.']


def main() -> None:
    """The command."""
    if sys.argv[1:2] == ['--serve']:
        serve(int(sys.argv[2]), sys.argv[3], sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=60.0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cameras', type=int, default=4)
    parser.add_argument('--slow', action='store_true', help='by a slow network, without faults')
    parser.add_argument('--log', type=Path, help='a file for a line of JSON a fault, and .said beside it')
    parser.add_argument('--write', action='store_true', help='put what faults gave into experiments/results/live.md')
    given = parser.parse_args()
    from scripts import soak_slow
    from vmmjax.reports import results_page

    with tempfile.TemporaryDirectory() as work:
        folder = Path(work)
        if given.slow:
            cases = []
            for case in soak_slow.CASES:
                (folder / case).mkdir()
                cases.append(soak_slow.soak(folder / case, given.minutes, case))
            rows = ['| ' + ' | '.join(cases[0]) + ' |', '|' + len(cases[0]) * '---|',
                    *('| ' + ' | '.join(map(str, found.values())) + ' |' for found in cases)]
            command, failed = '--slow', any(map(soak_slow.is_bad, cases))
        else:
            found = soak(folder, given.minutes, given.seed, given.cameras, given.log)
            command, failed = f'--seed={given.seed} --cameras={given.cameras}', bool(bad(found))
            rows = page(found)
    title = f'`scripts/soak --minutes={given.minutes:g} {command}`: {results_page.machine()}.'
    print('\n'.join([title, '', *rows]))
    if given.write and not given.slow:
        results_page.insert(ROOT / 'experiments' / 'results' / 'live.md', title, '\n'.join(rows))
    sys.exit(1 if failed else 0)


if __name__ == '__main__':
    main()
