"""A network that is too slow for a live stream: how late it is, and whether every frame is accounted for."""

import re
import signal
import time
from pathlib import Path
from typing import Any

from scripts.soak_parts import Camera, Watch
from tests.serving.live import lights

LATE = 2.0  # Windows: what was judged may be older by so much.
# Seconds from window to window, and what the network takes for one: five frames, and five windows.
CASES = {'frame': (1 / lights.FPS, 5 / lights.FPS), 'window': (0.5, 2.5)}


def soak(folder: Path, minutes: float, case: str) -> dict[str, Any]:
    """Watches a stream by a network that takes five times as long as it is from window to window."""
    stride, seconds = CASES[case]
    run = lights.save_run(folder / 'run', lights.make_store(folder), streams={'rgb': lights.STREAMS['rgb']},
                          encoder='Slow', options={'seconds': seconds})
    camera = Camera('camera', (folder / 'film.mp4', folder / 'film.mp4'), '')
    watch = Watch(folder, [camera], run, '', f'--stride={stride}')
    delays: list[float] = []
    try:
        while time.monotonic() - watch.began < 60 * minutes and watch.process.poll() is None:
            time.sleep(0.1)
            source = watch.source('camera')
            if source['windows']:
                delays.append(source['delay'])
        watch.process.send_signal(signal.SIGTERM)
        code = watch.process.wait(60)
    finally:
        watch.process.kill()
        camera.server.end()
    frames, used, dropped = map(int, re.findall(r'(\d+) (?:frames|used|dropped)', watch.lines()[-1]))
    delays.sort()
    return {'stride (s)': stride, 'a judgement takes (s)': seconds, 'windows judged': source['windows'],
            'not judged': source['windows_dropped'], 'frames': frames, 'used': used, 'dropped': dropped,
            'delay (s): median': round(delays[len(delays) // 2], 2), 'longest': round(delays[-1], 2),
            'allowed': LATE * lights.WINDOW, 'status at the end': code}


def is_bad(found: dict[str, Any]) -> bool:
    """Whether it was too late, ended, or lost count."""
    return (found['longest'] > found['allowed'] or found['status at the end'] != 0
            or found['frames'] != found['used'] + found['dropped'])
