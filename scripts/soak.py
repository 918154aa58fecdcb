"""Watches a live stream that is disturbed again and again, and says what became of it.

  scripts/soak --minutes=60 --seed=0 --write

`vmmjax watch` reads an MPEG-TS stream over TCP from a server in a process of its own, which sends a film with events
again and again as fast as it was recorded. The server is killed, stopped for 1 to 20 s, replaced by one that sends
garbage or pictures of another shape, or sends no sound for a while. It must never end; it must be running again within
its pause of at most 30 s and 5 s more; its memory must not grow by more than 100 MB after the first minute; a fault
must be no more than one line; and at the end every frame was used or dropped. --write puts the figures into
experiments/results/live.md.
"""

import argparse
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import av

ROOT = Path(__file__).resolve().parents[1]
FAULTS = ('killed', 'stopped', 'garbage', 'another shape', 'no sound')
BACK = 35.0  # Seconds: the longest pause, and 5 more.
PATIENCE = 300.0  # Seconds for the command to begin.


def serve(port: int, path: str, kind: str) -> None:
    """Sends a film again and again to one client after the other; in a process of its own."""
    with socket.create_server(('127.0.0.1', port)) as listener:
        print('listening', flush=True)
        while True:
            connection, _ = listener.accept()
            try:
                if kind == 'garbage':
                    connection.sendall(os.urandom(1 << 20))
                    connection.close()
                else:
                    _send(connection, path, sound=kind != 'no sound')
            except (OSError, av.error.FFmpegError):
                connection.close()


def _send(connection: socket.socket, path: str, sound: bool) -> None:
    """The film for ever, in real time."""
    began, offset = time.monotonic(), 0.0
    with connection.makefile('wb') as file, av.open(file, 'w', format='mpegts') as out:
        streams: dict[int, Any] = {}
        while True:
            with av.open(path) as film:
                for stream in film.streams:
                    if stream.index not in streams:
                        streams[stream.index] = out.add_stream_from_template(stream)
                end = 0.0
                for packet in film.demux():
                    if packet.dts is None or (packet.stream.type == 'audio' and not sound and offset):
                        continue
                    at = float(packet.dts * packet.time_base)
                    end = max(end, at + float((packet.duration or 0) * packet.time_base))
                    time.sleep(max(0.0, began + offset + at - time.monotonic()))
                    shift = round(offset / packet.time_base)
                    packet.pts, packet.dts = (packet.pts or 0) + shift, packet.dts + shift
                    packet.stream = streams[packet.stream_index]
                    out.mux(packet)
                    file.flush()
            offset += end


class Server:
    """The process that sends."""

    def __init__(self, port: int, films: dict[str, Path]) -> None:
        """Begins to send."""
        self._port, self._films = port, films
        self.begin('whole')

    def begin(self, kind: str) -> None:
        """Begins to send a film of some kind."""
        film = self._films['other' if kind == 'another shape' else 'film']
        self.process = subprocess.Popen([sys.executable, __file__, '--serve', str(self._port), str(film), kind],
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
            return
        self.end()
        if kind == 'killed':
            time.sleep(chance.uniform(0, 5))
        else:
            self.begin(kind)
            time.sleep(chance.uniform(10, 20))
            self.end()
        self.begin('whole')


def environment() -> dict[str, str]:
    """One device, as a user has."""
    return {key: value for key, value in os.environ.items() if key != 'XLA_FLAGS'} | {
        'PYTHONPATH': str(ROOT), 'JAX_PLATFORMS': 'cpu'}


def memory(process: subprocess.Popen) -> float:
    """Megabytes that are resident."""
    lines = Path(f'/proc/{process.pid}/status').read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith('VmRSS')) / 1024


def soak(folder: Path, minutes: float, seed: int) -> dict[str, Any]:
    """Watches, disturbs, and returns the figures."""
    # Not at the top: a server is to begin at once.
    from tests.serving.live import lights
    from vmmjax.media.writer import write_clip

    store = lights.make_store(folder)
    run = lights.save_run(folder / 'run', store)
    pictures, sound = lights.film(lights.EVENTS['film.mp4'])
    write_clip(folder / 'other_shape.mp4', pictures[:, :, :12].repeat(2, 1), fps=lights.FPS, waveform=sound,
               rate=lights.RATE, group=5)
    with socket.create_server(('127.0.0.1', 0)) as free:
        port = free.getsockname()[1]
    server = Server(port, {'film': folder / 'film.mp4', 'other': folder / 'other_shape.mp4'})
    said, chance = folder / 'said.txt', random.Random(seed)
    with said.open('w') as lines, (folder / 'told.jsonl').open('w') as told:
        watcher = subprocess.Popen(
            [sys.executable, '-m', 'vmmjax.cli.main', 'watch', f'camera=tcp://127.0.0.1:{port}', f'--weights={run}',
             f'--output={folder / "out"}', '--page=127.0.0.1:0', '--before=2', '--after=2'],
            cwd=ROOT, env=environment(), stdout=told, stderr=lines)
        try:
            return _disturbed(watcher, server, said, folder, chance, minutes)
        finally:
            watcher.kill()
            server.end()


def _disturbed(watcher: subprocess.Popen, server: Server, said: Path, folder: Path, chance: random.Random,
               minutes: float) -> dict[str, Any]:
    began = time.monotonic()
    while 'see http' not in said.read_text():
        if time.monotonic() - began > PATIENCE or watcher.poll() is not None:
            sys.exit(f'The command does not begin: {said.read_text()}')
        time.sleep(0.5)
    address = said.read_text().partition('see ')[2].split()[0]

    def status() -> dict[str, Any]:
        with urllib.request.urlopen(f'{address}status.json', timeout=30) as answer:
            return json.load(answer)['sources'][0]

    counts, slowest, first, most = dict.fromkeys(FAULTS, 0), 0.0, 0.0, 0.0
    began = time.monotonic()
    while time.monotonic() - began < 60 * minutes:
        time.sleep(chance.uniform(2, 8))
        kind = chance.choice(FAULTS)
        server.disturb(kind, chance)
        counts[kind] += 1
        mended, windows = time.monotonic(), status()['windows']
        while (now := status())['windows'] == windows or now['state'] != 'running':
            if watcher.poll() is not None or time.monotonic() - mended > PATIENCE:
                sys.exit(f'After a server that was {kind} it is not back: {said.read_text()[-2000:]}')
            time.sleep(0.2)
        slowest = max(slowest, time.monotonic() - mended)
        if time.monotonic() - began > 60:
            first = first or memory(watcher)
            most = max(most, memory(watcher))
    watcher.send_signal(signal.SIGTERM)
    code = watcher.wait(60)
    lines = said.read_text().splitlines()
    last = lines[-1]
    alarms = [json.loads(line) for line in (folder / 'told.jsonl').read_text().splitlines()]
    open_ones = {alarm['id'] for alarm in alarms} - {alarm['id'] for alarm in alarms if alarm['state'] == 'end'}
    return {'minutes': minutes, 'faults': counts, 'status at the end': code, 'slowest back (s)': round(slowest, 1),
            'memory grew by (MB)': round(most - first, 1), 'lines': len(lines), 'tracebacks': sum(
                'Traceback' in line for line in lines), 'alarms': len({alarm['id'] for alarm in alarms}),
            'alarms without an end': len(open_ones), 'counts': last.partition('camera: ')[2]}


def main() -> None:
    """The command."""
    if sys.argv[1:2] == ['--serve']:
        serve(int(sys.argv[2]), sys.argv[3], sys.argv[4])
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=60.0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--write', action='store_true', help='put the figures into experiments/results/live.md')
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = soak(Path(folder), given.minutes, given.seed)
    from vmmjax.reports import results_page

    rows = [f'- {name}: {value}' for name, value in found.items()]
    text = '\n'.join(['# A live stream with faults', '',
                      f'`scripts/soak --minutes={given.minutes:g} --seed={given.seed}`: {results_page.machine()}.', '',
                      *rows, ''])
    print(text)
    if given.write:
        (ROOT / 'experiments' / 'results' / 'live.md').write_text(text)
    bad = (found['status at the end'] or found['tracebacks'] or found['alarms without an end']
           or found['slowest back (s)'] > BACK or found['memory grew by (MB)'] > 100)
    sys.exit(1 if bad else 0)


if __name__ == '__main__':
    main()
