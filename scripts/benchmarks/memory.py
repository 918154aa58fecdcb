"""How much memory `vmmjax prepare` takes for large frames and long sound: prints a table in Markdown.

  scripts/bench memory --write

Written and prepared are 8 s of 3840 x 2160 pictures and an hour of 48 kHz stereo. What counts is the most that any of
the command's processes ever had in memory, beyond the most that one has while it prepares a clip of a second and
64 x 64 pictures.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from scripts import fuzz_media
from vmmjax.reports import results_page
from vmmjax.text_table import markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'experiments' / 'results' / 'memory.md'
MOST = 400  # MB above the idle process.


def write_pictures(path: Path, seconds: float, width: int, height: int) -> None:
    """A moving texture, 25 pictures a second, H.264."""
    small = np.random.default_rng(0).integers(0, 256, (height // 8, width // 8, 3), np.uint8)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=25, options={'preset': 'ultrafast', 'crf': '30'})
        stream.width, stream.height, stream.pix_fmt = width, height, 'yuv420p'
        for index in range(round(25 * seconds)):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(np.roll(small, index, 1)), format='rgb24')
            frame.pts, frame.time_base = index, Fraction(1, 25)
            container.mux(stream.encode(frame.reformat(width, height, 'yuv420p')))
        container.mux(stream.encode())


def write_sound(path: Path, seconds: int, rate: int) -> None:
    """Noise in two channels, 16 bits."""
    rng = np.random.default_rng(0)
    with av.open(str(path), 'w') as container:
        stream = container.add_stream('pcm_s16le', rate=rate, layout='stereo')
        for second in range(seconds):
            samples = rng.integers(-5000, 5000, (1, 2 * rate), np.int16)
            frame = av.AudioFrame.from_ndarray(samples, format='s16', layout='stereo')
            frame.sample_rate, frame.pts, frame.time_base = rate, second * rate, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


def most_memory(folder: Path, column: str) -> float:
    """MB that the largest process had at most while the folder was prepared."""
    command = [sys.executable, '-m', 'vmmjax.cli.main', 'prepare', f'--source={folder}', f'--store={folder}.store',
               f'--columns={column}', '--processes=2']
    most = 0.0
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {'PYTHONPATH': str(ROOT)},
                          stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        while process.poll() is None:
            most = max(most, fuzz_media.most_memory(fuzz_media.tree(process.pid)))
            time.sleep(0.02)
    if process.returncode:
        sys.exit(f'{" ".join(command)} ended with status {process.returncode}.')
    return most


def main() -> None:
    """Runs the command."""
    parser = argparse.ArgumentParser(prog='scripts/bench memory', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--write', action='store_true', help='put the table into experiments/results/memory.md')
    flags = parser.parse_args()
    cases: list[tuple[str, str, str, Callable[[Path], None], Callable[[Path], None]]] = [
        ('8 s of 3840 x 2160', 'rgb', 'mp4', lambda path: write_pictures(path, 8, 3840, 2160),
         lambda path: write_pictures(path, 1, 64, 64)),
        ('8 s of 3840 x 2160', 'flow', 'mp4', lambda path: write_pictures(path, 8, 3840, 2160),
         lambda path: write_pictures(path, 1, 64, 64)),
        *[('an hour of 48 kHz stereo', column, 'wav', lambda path: write_sound(path, 3600, 48000),
           lambda path: write_sound(path, 1, 48000)) for column in ('audio', 'waveform')]]
    rows, missed = [], False
    for name, column, suffix, write, write_small in cases:
        used = []
        for one in (write_small, write):
            with tempfile.TemporaryDirectory() as work:
                folder = Path(work, 'clips')
                (folder / 'class').mkdir(parents=True)
                one(folder / 'class' / f'clip.{suffix}')
                used.append(most_memory(folder, column))
        above = used[1] - used[0]
        missed |= above > MOST
        rows.append([name, column, *(f'{each:.0f}' for each in (*used, above)), 'yes' if above <= MOST else 'no'])
        print(rows[-1], file=sys.stderr, flush=True)
    table = markdown(('clip', 'column', 'MB, idle', 'MB, at most', 'above', f'at most {MOST}'), rows, '<<>>><')
    print(table)
    if flags.write:
        results_page.insert(PAGE, f'{results_page.machine(("av", "librosa"))}.', table)
    sys.exit(1 if missed else 0)


if __name__ == '__main__':
    main()
