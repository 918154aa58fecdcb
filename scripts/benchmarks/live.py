r"""How fast a network of the past alone watches a live stream, and whether it says what it says of the whole film.

  scripts/bench live [--frames=100] [--turns=5]

TSM-MobileNetV2 with `shift='uni'`, at its published width, with random weights, at 224 x 224 pixels and 25 frames a
second, as `vmmjax watch --streaming` runs it: frames of one source, one at a time, through the scaling, the JPEG step
of evaluation, the program and its carry. A turn is a pass over a film's frames. The error is the largest difference of
the mean of the frames' logits to `Experiment.predict` of the file, which sees the film at once, relative to the largest
logit; it is to be at most 1e-5, and the median turn at least 10 frames a second. CPU time, that of all cores together,
tells what a machine that does other things can do.
"""

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

from tests.serving.live import reading
from vmmjax import config as configs
from vmmjax.experiment import Experiment
from vmmjax.media.writer import write_clip
from vmmjax.prepare.columns import Rgb
from vmmjax.reports import results_page
from vmmjax.serving.live.frames import FrameJudge
from vmmjax.text_table import markdown
from vmmjax.training.state import TrainState

SIDE, FPS, CLASSES = 224, 25.0, 27
FRAMES_A_SECOND, ERROR = 10.0, 1e-5  # To be reached.


def experiment(frames: int) -> Experiment:
    """A run of so many frames a clip, without a store; its weights keep activations about as large as they are."""
    config = configs.defaults()
    config.data.window.seconds = frames / FPS
    config.data.streams = dict(rgb=dict(modality='rgb', frames=frames, size=SIDE))
    config.model.preprocess = dict(rgb='signed')
    config.model.encoders = dict(rgb=dict(name='tsm_mobilenet_v2', shift='uni'))
    recorded = {
        'task': {'classes': [str(number) for number in range(CLASSES)]},
        'data': {'format': 1, 'texts': {}, 'columns': {'rgb': {
            'kind': 'picture', 'rate': FPS, 'chunk': 1, 'shape': [], 'builder': '',
            'options': {'fps': FPS, 'short_side': SIDE}}}},
        'spec': {'rgb': [[frames, SIDE, SIDE, 3], 'uint8'], 'valid/rgb': [[frames], 'bool'],
                 'present/rgb': [[], 'bool'], 'mask': [[], 'float32'], 'id': [[], 'int32'], 'row': [[], 'int32'],
                 'target/label': [[], 'int32']}}
    run = Experiment(configs.lock(config), run_inputs=recorded)
    variables = dict(run.init(jax.random.key(0)))
    random = np.random.default_rng(0)

    def drawn(leaf: jax.Array) -> jax.Array:
        if leaf.ndim < 2:
            return leaf
        return jnp.asarray(random.normal(0, (2 / np.prod(leaf.shape[:-1])) ** 0.5, leaf.shape), leaf.dtype)

    run.state = TrainState(step=jnp.asarray(1), params=jax.tree.map(drawn, variables.pop('params')),
                           model_state=variables, opt_state=())
    return run


def measure(frames: int, turns: int) -> tuple[list[float], list[float], float]:
    """Frames a second of every turn, CPU milliseconds a frame, and the error."""
    random = np.random.default_rng(0)
    # Pictures that change and that a codec does not blur away.
    coarse = random.integers(0, 256, (frames, SIDE // 16, SIDE // 14, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / 'film.mp4'
        write_clip(film, coarse.repeat(16, 1).repeat(16, 2), fps=FPS)
        windows, _, _ = reading.windows_of(film, columns={'rgb': Rgb(fps=FPS, short_side=SIDE)}, window=1 / FPS,
                                           stride=1 / FPS)
        run = experiment(frames)
        (whole,) = run.predict([film])
    assert len(windows) == frames, len(windows)
    judge, logits, rates, costs = FrameJudge(run, 1), list[np.ndarray](), list[float](), list[float]()
    levels_of = run.task.levels

    def noted(scores: Any) -> Any:
        logits.append(np.asarray(scores[0], np.float64))
        return levels_of(scores)

    with mock.patch.object(type(run.task), 'levels', lambda _, scores: noted(scores)):
        for turn in range(turns):
            connection: Any = object()  # Nothing is carried from the turn before.
            begin, cpu = time.perf_counter(), time.process_time()
            for window in windows:
                judge([window], [('film', connection)])
            rates.append(frames / (time.perf_counter() - begin))
            costs.append(1e3 * (time.process_time() - cpu) / frames)
            print(f'turn {turn + 1}: {rates[-1]:.1f} frames/s', flush=True)
    error = np.abs(np.mean(logits[:frames], 0) - whole.scores).max() / np.abs(whole.scores).max()
    return rates, costs, float(error)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench live', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--frames', type=int, default=100, help='of the film (default: 100)')
    parser.add_argument('--turns', type=int, default=5, help='passes over it (default: 5)')
    flags = parser.parse_args()
    before = os.getloadavg()[0]
    rates, costs, error = measure(flags.frames, flags.turns)
    median = statistics.median(rates)
    print('', f'{results_page.machine()}, load {before:.1f} at the beginning.', '', markdown(
        ('frames/s, median of the turns', 'slowest', 'fastest', 'to reach', 'CPU ms a frame', 'error', 'at most'),
        [(f'{median:.1f}', f'{min(rates):.1f}', f'{max(rates):.1f}', f'{FRAMES_A_SECOND:g}',
          f'{statistics.median(costs):.0f}', f'{error:.1e}', f'{ERROR:g}')]), sep='\n')
    sys.exit(median < FRAMES_A_SECOND or error > ERROR)


if __name__ == '__main__':
    main()
