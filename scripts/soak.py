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
import re
import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import av

from scripts import soak_slow
from scripts.soak_parts import FAULTS, ROOT, Camera, Receiver, Watch
from tests.serving.live import lights
from vmmjax.media.writer import write_clip
from vmmjax.reports import results_page

MORE = 5.0  # Seconds that may be added to a pause.
PART = 600.0  # Seconds of a row of the table.


def make_run(folder: Path) -> tuple[Path, tuple[Path, Path]]:
    """A run, and a film in two shapes."""
    store = lights.make_store(folder)
    pictures, sound = lights.film(lights.EVENTS['film.mp4'])
    write_clip(folder / 'other_shape.mp4', pictures[:, :, :12].repeat(2, 1), fps=lights.FPS, waveform=sound,
               rate=lights.RATE, group=5)
    return lights.save_run(folder / 'run', store), (folder / 'film.mp4', folder / 'other_shape.mp4')


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
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, default=60.0)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--cameras', type=int, default=4)
    parser.add_argument('--slow', action='store_true', help='by a slow network, without faults')
    parser.add_argument('--log', type=Path, help='a file for a line of JSON a fault, and .said beside it')
    parser.add_argument('--write', action='store_true', help='put what faults gave into experiments/results/live.md')
    given = parser.parse_args()
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
