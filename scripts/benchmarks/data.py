r"""Clips a second of the data engine against PyTorch's DataLoader and FFmpeg, in one run on one machine.

  scripts/bench data ../shared/data/grid/manifest.csv
  scripts/bench data VIDEOS --short_side=256 --turns=9 --memory=5000 --write

VIDEOS is what `vmmjax prepare --source` takes: files with pictures, and a split `train`. Loading: batches of TSM's
training clips (8 x 224 x 224, multi-scale crop, flip) from a store, against a DataLoader that decodes the video files
by PyAV and by torchcodec, and one that reads the very JPEGs of the store, one a file. Turns of the sides alternate,
and who has no turn is stopped; ratios are taken turn by turn, their medians and quartiles reported. Preparing: rgb and
audio of VIDEOS, against FFmpeg's decoding and resizing them, as many clips at a time as there are processes. What was
made is kept in --work for the next time. --write puts the tables into experiments/results/benchmark_data.md.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import os
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from sides import Side, Turn
from tqdm import tqdm

from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Audio, Rgb
from vmmjax.reports import results_page
from vmmjax.store import records
from vmmjax.store.store import Store
from vmmjax.text_table import markdown

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / 'experiments' / 'results' / 'benchmark_data.md'
NEEDED = 1500  # Clips a second of TSM-R50's training step on an H200.

# Side -> what it is called, what it needs to be installed, and how many times its rate is to be reached.
SIDES: dict[str, tuple[str, tuple[str, ...], float | None]] = {
    'ours': ('vmmjax, from its store', (), None),
    'pyav': ('DataLoader, video files, PyAV', ('torch',), 8.0),
    'torchcodec': ('DataLoader, video files, torchcodec', ('torch', 'torchcodec'), 8.0),
    'jpegs': ('DataLoader, the same JPEGs, OpenCV', ('torch',), 1.2),
    'simplejpeg': ('DataLoader, the same JPEGs, simplejpeg', ('torch', 'simplejpeg'), 1.2)}


def make(source: str, work: Path, short_side: int, processes: int) -> None:
    """The store, its pictures as files, and the list of clips that the peers read; what is there is kept."""
    clips = sources.read(source)
    prepare(clips, work / 'store', (Rgb(short_side=short_side),), origin=Path(source).name, processes=processes)
    if (work / 'clips.json').exists():
        return
    store = Store(work / 'store')
    column, paths = store.column('rgb'), {clip.name: str(clip.path.resolve()) for clip in clips}
    listed = []
    for row in tqdm(store.rows('train'), desc='pictures as files', unit='clip'):
        folder = work / 'pictures' / str(row)
        folder.mkdir(parents=True, exist_ok=True)
        encoded = [picture for record in column.records(np.arange(column.offsets[row], column.offsets[row + 1]))
                   for picture in records.pictures(record)]
        for i, picture in enumerate(encoded):
            (folder / f'{i:05d}.jpg').write_bytes(picture)
        fps = float(store.values('fps')[row])
        listed.append({'path': paths[store.values('path')[row]], 'pictures': str(folder.resolve()),
                       'frames': len(encoded), 'source_frames': max(1, int(store.durations[row] * fps + 1e-6)),
                       'size': column.sizes[row].tolist()})
    (work / 'clips.json').write_text(json.dumps(listed))


def load(work: Path, chosen: list[str], batch: int, workers: int, turns: int, batches: int) -> dict[str, list[Turn]]:
    """The turns of every side."""
    taken: dict[str, list[Turn]] = {side: [] for side in chosen}
    with ExitStack() as stack:
        sides = {side: stack.enter_context(_start(side, work, batch, workers)) for side in chosen}
        for turn in tqdm(range(turns + 1), desc='loading', unit='turn'):
            for side, process in sides.items():
                # The batches that lie ready, and those that are being made: two of each worker.
                count = batches if side in ('ours', 'jpegs', 'simplejpeg') else max(1, batches // 8)
                took = process.turn(2 * workers + 2, count)
                if turn:  # The first warms up.
                    taken[side].append(Turn(*(value / count / batch for value in (took.seconds, took.cpu, took.read))))
    return taken


def loading_table(taken: dict[str, list[Turn]]) -> str:
    """Markdown; the turns are per clip."""
    header = ['side', 'clips/s', 'ours, times as many (quartiles)', 'to reach', 'CPU, ms a clip', 'read, kB a clip']
    rows = []
    for side, turns in taken.items():
        name, _, goal = SIDES[side]
        ratios = [its.seconds / mine.seconds for its, mine in zip(turns, taken['ours'], strict=True)]
        rows.append([name, f'{1 / statistics.median(turn.seconds for turn in turns):.0f}',
                     '' if goal is None else _spread(ratios), '' if goal is None else f'{goal:g}',
                     f'{1e3 * statistics.median(turn.cpu for turn in turns):.2f}',
                     f'{statistics.median(turn.read for turn in turns) / 1e3:.0f}'])
    cpu = statistics.median(turn.cpu for turn in taken['ours'])
    return (f'{markdown(header, rows)}\n\nA core of the pipeline gives {1 / cpu:.0f} clips/s; {NEEDED} clips/s, what '
            f"one H200 takes in TSM-R50's training step, need {NEEDED * cpu:.1f} such cores.")


def memory_line(work: Path, batch: int, workers: int, batches: int) -> str:
    """Memory of our pipeline over many batches."""
    held, step = [], 50
    with _start('ours', work, batch, workers) as ours:
        for _ in tqdm(range(0, batches, step), desc='memory', unit='batch', unit_scale=step):
            ours.turn(0, step)
            held.append(ours.memory())
    part = max(1, len(held) // 10)
    return (f'Memory of the pipeline over {len(held) * step} batches of {batch}: at most {max(held[:part]):.0f} MB in '
            f'the first tenth of them, {max(held[part:-part] or held):.0f} MB in the middle, '
            f'{max(held[-part:]):.0f} MB in the last tenth.')


def prepare_table(source: str, short_side: int, processes: int, turns: int) -> str:
    """`prepare` and FFmpeg in turns, in Markdown."""
    clips, executable = sources.read(source), shutil.which('ffmpeg')
    if importlib.util.find_spec('imageio_ffmpeg'):
        import imageio_ffmpeg

        executable = imageio_ffmpeg.get_ffmpeg_exe()
    if executable is None:
        return 'Preparing was not measured: there is no ffmpeg (`pip install imageio-ffmpeg` brings one).'

    def ours(folder: Path) -> None:
        prepare(clips, folder / 'store', (Rgb(short_side=short_side), Audio()), origin='benchmark',
                processes=processes, progress=False)

    def decode(folder: Path, *pictures: str) -> None:
        scale = (f"scale='if(lt(iw,ih),{short_side},-2)':'if(lt(iw,ih),-2,{short_side})'"
                 ':flags=area+accurate_rnd+full_chroma_int')

        def one(number: int) -> None:
            subprocess.run([executable, '-v', 'error', '-threads', '1', '-filter_threads', '1',
                            '-i', str(clips[number].path), '-map', '0:v:0', '-vf', f'fps=25,{scale}', *pictures,
                            str(folder / f'{number}.avi'), '-map', '0:a:0?', '-ac', '1', '-ar', '16000', '-f', 'null',
                            '-'], check=True, stdin=subprocess.DEVNULL)
        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(one, range(len(clips))))

    sides: dict[str, Callable[[Path], None]] = {
        '`vmmjax prepare --columns=rgb,audio`': ours,
        'FFmpeg, decoding and resizing': lambda folder: decode(folder, '-pix_fmt', 'rgb24', '-f', 'null'),
        'FFmpeg, and writing JPEGs': lambda folder: decode(folder, '-c:v', 'mjpeg', '-q:v', '2', '-threads', '1')}
    taken: dict[str, list[float]] = {side: [] for side in sides}
    for _ in tqdm(range(turns), desc='preparing', unit='turn'):
        for side, call in sides.items():
            with tempfile.TemporaryDirectory() as folder:
                begin = time.perf_counter()
                call(Path(folder))
                taken[side].append(time.perf_counter() - begin)
    rows = []
    mine = next(iter(taken.values()))
    for side, times in taken.items():
        ratios = [own / its for own, its in zip(mine, times, strict=True)]
        rows.append([side, f'{len(clips) / statistics.median(times):.1f}',
                     *(('', '') if times is mine else (_spread(ratios), '1.25'))])
    return markdown(['side', 'clips/s', 'ours, times its time (quartiles)', 'to reach'], rows)


def machine(source: str, workers: int, batch: int, short_side: int) -> str:
    """Where, with what and on what this ran."""
    where = results_page.machine(('av', 'opencv-contrib-python-headless', 'simplejpeg', 'tensorflow-cpu', 'torch',
                                  'torchcodec'))
    return (f'{where}; {Path(source).parent.name}/{Path(source).name}, short side {short_side}, batches of {batch}, '
            f'{workers} workers a side.')


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench data', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('videos', help='manifest, or folder with a folder a class')
    parser.add_argument('--only', default='', help=f'sides, such as jpegs,pyav (default: of {",".join(SIDES)} what is '
                                                   f'installed)')
    parser.add_argument('--short_side', type=int, default=256, help='of the pictures in the store (default: 256)')
    parser.add_argument('--batch', type=int, default=32, help='clips a batch (default: 32)')
    parser.add_argument('--workers', type=int, default=os.cpu_count() or 1, help='processes or threads of a side')
    parser.add_argument('--turns', type=int, default=9, help='of each side, 0 for no loading (default: 9)')
    parser.add_argument('--batches', type=int, default=40, help='of a turn; an eighth where videos are decoded')
    parser.add_argument('--memory', type=int, default=0, help='batches over which memory is watched (default: 0)')
    parser.add_argument('--prepare', type=int, default=1, help='turns of preparing (default: 1)')
    parser.add_argument('--work', type=Path, default=Path(tempfile.gettempdir()) / 'vmmjax_bench', help='folder')
    parser.add_argument('--write', action='store_true', help=f'put the tables into {PAGE.relative_to(ROOT)}')
    flags = parser.parse_args()
    installed = [side for side, (_, needs, _) in SIDES.items() if all(map(importlib.util.find_spec, needs))]
    chosen = ['ours', *(side for side in flags.only.split(',') if side and side != 'ours')] if flags.only else installed
    if missing := [side for side in chosen if side not in installed]:
        parser.error(f'{missing[0]} is no side, or lacks a package; there are {", ".join(installed)}')
    work = flags.work / f'{Path(flags.videos).resolve().parent.name}_{flags.short_side}'
    make(flags.videos, work, flags.short_side, flags.workers)
    parts = [machine(flags.videos, flags.workers, flags.batch, flags.short_side)]
    if flags.turns:
        parts.append(loading_table(load(work, chosen, flags.batch, flags.workers, flags.turns, flags.batches)))
    if flags.memory:
        parts.append(memory_line(work, flags.batch, flags.workers, flags.memory))
    if flags.prepare:
        parts.append(prepare_table(flags.videos, flags.short_side, flags.workers, flags.prepare))
    print(*parts, sep='\n\n')
    if flags.write:
        results_page.insert(PAGE, *parts)


def _start(side: str, work: Path, batch: int, workers: int) -> Side:
    return Side(side, [str(Path(__file__).with_name('loaders.py')), side, str(work), str(batch), str(workers)])


def _spread(ratios: list[float]) -> str:
    low, high = np.quantile(ratios, (0.25, 0.75))
    return f'{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f})'


if __name__ == '__main__':
    main()
