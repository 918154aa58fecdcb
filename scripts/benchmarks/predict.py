"""Memory of `vmmjax predict --timeline` on files of 1 to 60 minutes: it does not grow with their length.

A run on pictures (5 a second, 32 pixels) and log-mels is made on the spot; the files are written on the spot, too: 64 x
64 pixels, 10 pictures and 16,000 samples a second. Each is predicted by a process of its own; printed are its peak of
resident memory, that of the largest process that reads for it, and the time. With --whole the file is predicted in the
run's own window instead.
"""

import argparse
import gc
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from vmmjax import config as configs
from vmmjax.text_table import markdown_lines

FPS, SIDE, RATE = 10, 64, 16000


def write_file(path: Path, minutes: float) -> None:
    """A moving square and a tone; nothing of it lies in memory but what is written."""
    rng = np.random.default_rng(0)
    with av.open(str(path), 'w') as file:
        video = file.add_stream('libx264', rate=FPS, options={'preset': 'ultrafast'})
        sound = file.add_stream('aac', RATE)
        video.width = video.height = SIDE
        video.pix_fmt, sound.layout = 'yuv420p', 'mono'
        for second in range(round(60 * minutes)):
            for place in range(FPS):
                picture = np.full((SIDE, SIDE, 3), 60, np.uint8)
                left = (second * FPS + place) % (SIDE - 16)
                picture[24:40, left:left + 16] = rng.integers(0, 256, 3)
                file.mux(video.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
            samples = 0.1 * np.sin(2 * np.pi * 440 / RATE * np.arange(second * RATE, (second + 1) * RATE))
            part = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format='fltp', layout='mono')
            part.sample_rate, part.time_base, part.pts = RATE, Fraction(1, RATE), second * RATE
            file.mux(sound.encode(part))
        file.mux(video.encode())
        file.mux(sound.encode())


def make_run(folder: Path) -> Path:
    """A run of one step on one short clip."""
    from vmmjax.experiment import Experiment
    from vmmjax.prepare import sources
    from vmmjax.prepare.build import prepare
    from vmmjax.prepare.columns import Audio, Rgb

    write_file(folder / 'short.mp4', 0.1)
    (folder / 'clips.csv').write_text('path,split,id,label\n' + ''.join(
        f'short.mp4,train,{label},{label}\n' for label in ('one', 'two')))
    prepare(sources.read(str(folder / 'clips.csv')), folder / 'store', [Rgb(fps=5.0, short_side=32), Audio()],
            origin='made', processes=1, progress=False)
    config = configs.defaults()
    config.steps, config.batch_size, config.evaluate_every, config.data.store = 1, 2, 0, str(folder / 'store')
    config.optimizer.lr.warmup_steps = 0
    config.data.streams = dict(rgb=dict(modality='rgb', frames=8, size=32), audio=dict(modality='audio'))
    config.model.preprocess = dict(rgb='centred', audio='none')
    config.model.encoders = dict(rgb=dict(name='tdnn', pool=2),
                                 audio=dict(name='conv2d_audio', widths=(8, 16)))
    Experiment(configs.lock(config)).train(folder / 'run')
    return folder / 'run'


def predict(run: Path, file: Path, whole: bool) -> dict[str, float]:
    """Predicts a file; says what that took."""
    from vmmjax.evaluation import new_clips
    from vmmjax.experiment import Experiment
    from vmmjax.pipeline.windows import WindowSpec

    experiment = Experiment.load(run)
    begun = time.perf_counter()
    found = new_clips.each(experiment, [file], most=1) if whole else new_clips.windows(
        experiment, file, WindowSpec(experiment.config.data.window.seconds), most=1)
    count = sum(not told.error for told in found)
    seconds = time.perf_counter() - begun
    gc.collect()  # The processes that read end with what they belong to; only then they are counted.
    own, readers = (resource.getrusage(who).ru_maxrss / 1024
                    for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return dict(windows=count, own=own, readers=readers, seconds=seconds)


def measured(lengths: Sequence[str], whole: bool) -> Iterator[list[str]]:
    """A row for each length, in minutes."""
    with tempfile.TemporaryDirectory() as folder:
        run = make_run(Path(folder))
        for minutes in lengths:
            file = Path(folder, f'{minutes}.mp4')
            write_file(file, float(minutes))
            found = json.loads(subprocess.run(
                [sys.executable, __file__, '--file', run, file, *['--whole'] * whole], check=True,
                stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1])
            file.unlink()
            yield [minutes, *(f'{found[name]:.0f}' for name in ('windows', 'own', 'readers', 'seconds'))]


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', default='1,5,20,60', help='Lengths of the files.')
    parser.add_argument('--whole', action='store_true', help="Predicts each file in the run's own window.")
    parser.add_argument('--file', nargs=2, type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.file:
        print(json.dumps(predict(*options.file, options.whole)))
        return
    header = ['minutes', 'windows', 'peak, MiB', 'of a process that reads, MiB', 'seconds']
    for line in markdown_lines(header, measured(options.minutes.split(','), options.whole), '>'):
        print(line, flush=True)


if __name__ == '__main__':
    main()
