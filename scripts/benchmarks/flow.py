r"""Our TV-L1 against OpenCV's, at equal settings, on real clips: time and how far the flows are apart.

  .venv/bin/python scripts/benchmarks/flow.py ../shared/data/grid ../shared/data/fights --short_sides=64,128,224

Every pair of neighbouring pictures (25 a second) goes through both, one after the other, so that whatever else the
machine does hits both; each picture size is compiled before. The ratio is that of the medians over the pairs, its
range that of the quartiles. `apart` is the mean end-point difference in pixels: its mean over the pairs, its median
and its largest. `OpenCV itself` is how far OpenCV's flow goes when the pictures are moved by 0.00003 of a grey level.
"""

import argparse
import time
from pathlib import Path

import cv2
import jax
import numpy as np
from tqdm import tqdm

from vmmjax.media import video
from vmmjax.media.probe import probe
from vmmjax.ops.tv_l1 import tv_l1

FPS = 25


def pairs(folder: Path, clips: int, each: int, short_side: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Grey pictures and their successors, spread evenly over clips that are spread evenly over the folder."""
    files = sorted(folder.rglob('*.mp4'))
    found = []
    for index in np.unique(np.linspace(0, len(files) - 1, clips).round().astype(int)):
        length = probe(files[index]).duration
        for start in np.linspace(0, max(0, length - 4 / FPS), each + 2)[1:-1]:
            frames = video.read_frames(files[index], start=start, end=start + 2 / FPS, fps=FPS, short_side=short_side)
            first, second = (cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames)
            found.append((first, second))
    return found


def compare(data: list[tuple[np.ndarray, np.ndarray]], label: str) -> str:
    """Runs both over all pairs; returns a row of the table."""
    method, rng = cv2.optflow.DualTVL1OpticalFlow_create(), np.random.default_rng(0)
    seconds, apart, itself, compiling = [], [], [], []
    ready: dict[tuple[int, ...], jax.stages.Compiled] = {}
    for first, second in tqdm(data, desc=label):
        if first.shape not in ready:
            start = time.perf_counter()
            ready[first.shape] = tv_l1.lower(first[None], second[None]).compile()
            compiling.append(time.perf_counter() - start)
        times = [time.perf_counter()]
        theirs = method.calc(first, second, None)
        times.append(time.perf_counter())
        ours = np.asarray(ready[first.shape](first[None], second[None]))[0]
        times.append(time.perf_counter())
        seconds.append(np.diff(times))
        shaken = [(picture + 3e-5 * rng.uniform(-1, 1, picture.shape)).astype(np.float32) / 255
                  for picture in (first, second)]
        apart.append(np.linalg.norm(ours - theirs, axis=-1).mean())
        itself.append(np.linalg.norm(method.calc(*shaken, None) - theirs, axis=-1).mean())
    theirs_s, ours_s = np.median(seconds, axis=0)
    low, high = np.quantile([a / b for a, b in seconds], [0.25, 0.75])
    spread = [f'{np.mean(x):.3f} ({np.median(x):.3f}, {np.max(x):.2f})' for x in (apart, itself)]
    return (f'| {label} | {len(data)} | {theirs_s:.3f} | {ours_s:.3f} | {theirs_s / ours_s:.1f} ({low:.1f}-{high:.1f}) '
            f'| {spread[0]} | {spread[1]} | {np.mean(compiling):.0f} x {len(compiling)} |')


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folders', nargs='+', type=Path, help='searched for MP4 files')
    parser.add_argument('--short_sides', default='64,128,224', help='pixels')
    parser.add_argument('--clips', default=8, type=int, help='files of each folder')
    parser.add_argument('--pairs', default=2, type=int, help='pairs of pictures of each file')
    arguments = parser.parse_args()
    rows = [compare(pairs(folder, arguments.clips, arguments.pairs, int(side)), f'{folder.name} {side}')
            for folder in arguments.folders for side in arguments.short_sides.split(',')]
    print(f'{jax.devices()[0].device_kind}, {len(jax.devices())} device, OpenCV {cv2.__version__} with '
          f'{cv2.getNumThreads()} threads, JAX {jax.__version__}\n')
    print('| clips | pairs | OpenCV s a pair | ours s | ratio | apart px: mean (median, largest) | OpenCV itself '
          '| compile s x sizes |')
    print('|---' * 8 + '|')
    print('\n'.join(rows))


if __name__ == '__main__':
    main()
