"""A run that raises an alarm where it is bright, in films that are dark but for some seconds, and where it is loud."""

import csv
import time
from pathlib import Path
from types import MappingProxyType

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vmmjax import config as configs
from vmmjax.experiment import Experiment
from vmmjax.media.writer import write_clip
from vmmjax.models import Tokens
from vmmjax.prepare import sources
from vmmjax.prepare.audio_columns import Audio
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Rgb
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.state import TrainState

FPS, RATE, SECONDS, WINDOW = 10, 8000, 12, 2
EVENTS = {'film.mp4': [(3.0, 5.0), (7.5, 9.0)], 'other.mp4': [(1.5, 2.5)]}
STREAMS = dict(rgb=dict(modality='rgb', frames=8, size=16), audio=dict(modality='audio'))


class Mean(nn.Module):
    """A token a frame: the mean of its numbers."""

    features: int = 1
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x, valid, train):
        return Tokens(x.reshape(*x.shape[:2], -1).mean(-1, keepdims=True), valid), {}


class Slow(nn.Module):
    """The same, which takes its time."""

    seconds: float
    features: int = 1
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x, valid, train):
        def wait(mean):
            time.sleep(self.seconds)
            return mean

        tokens, endpoints = Mean(dtype=self.dtype)(x, valid, train)
        mean = jax.pure_callback(wait, jax.ShapeDtypeStruct(tokens.x.shape, tokens.x.dtype), tokens.x)
        return Tokens(mean, tokens.mask), endpoints


class Places(nn.Module):
    """The same of pictures, by a convolution whose map has rows and columns."""

    features: int = 1
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x, valid, train):
        return Tokens(nn.Conv(1, (1, 1, 1))(x).mean((2, 3)), valid), {}


def film(events, seconds=SECONDS, side=16, fps=FPS):
    """Pictures uint8 (T, side, side + 8, 3), bright in the events and never twice the same; sound, loud in them."""
    def inside(times):
        return np.logical_or.reduce([(times >= start) & (times < end) for start, end in events])

    rng = np.random.default_rng(len(events))
    times = np.arange(round(seconds * fps)) / fps
    light = np.where(inside(times), 190, 40) + rng.integers(-20, 20, len(times))
    pictures = np.broadcast_to(light[:, None, None, None], (len(times), side, side + 8, 3)).astype(np.uint8)
    at = np.arange(round(seconds * RATE)) / RATE
    return pictures, (np.where(inside(at), .3, .01) * rng.standard_normal(len(at))).astype(np.float32)


def write_films(folder: Path, group: int = 5) -> Path:
    """The films and their manifest."""
    with open(folder / 'manifest.csv', 'w', newline='') as file:
        rows = csv.writer(file)
        rows.writerow(['path', 'split', 'from', 'to'])
        for name, events in EVENTS.items():
            pictures, sound = film(events)
            write_clip(folder / name, pictures, fps=FPS, waveform=sound, rate=RATE, group=group)
            for split in ('train', 'test'):
                rows.writerow([name, split, *(';'.join(map(str, times)) for times in zip(*events, strict=True))])
    return folder / 'manifest.csv'


def make_store(folder: Path) -> Path:
    """Prepares the films."""
    prepare(sources.read(str(write_films(folder))), folder / 'store',
            (Rgb(fps=FPS, short_side=16), Audio(audio_rate=RATE, fmax=3800.0, bands=8)), origin='films', processes=1,
            progress=False)
    return folder / 'store'


def save_run(folder: Path, store: Path, task=None, streams=STREAMS, encoder='Mean', options=MappingProxyType({}),
             **data) -> Path:
    """The folder of a run, as `vmmjax train` leaves it; its weights are made by hand."""
    config = configs.defaults()
    config.task = task or dict(name='events', high=0.7, low=0.4, minimum=0.5)
    config.data.store = str(store)
    config.data.target, config.data.window.seconds = ('from', 'to'), float(WINDOW)
    config.data.views.clips = SECONDS // WINDOW
    config.data.streams = dict(streams)
    for key, value in data.items():
        config.data[key] = value
    config.model.preprocess = {name: 'signed' if name == 'rgb' else 'none' for name in streams}
    config.model.encoders = {name: dict(name=f'tests.serving.live.lights:{encoder}', **options) for name in streams}
    config.model.fusion = dict(name='over_time', join=dict(name='sum', features=1), steps=8)
    over_time = config.task.name in ('events', 'summarization')
    config.model.head = dict(name='per_token' if over_time else 'consensus', dropout=0.0)
    config = configs.lock(config)
    experiment = Experiment(config)
    params = jax.eval_shape(experiment.init, jax.random.key(0))['params']
    weights = {'rgb': 6.0, 'audio': 0.5}

    def by_hand(path, leaf):
        names = [part.key for part in path]
        if names[-1] == 'bias':
            return jnp.zeros(leaf.shape, leaf.dtype)
        return jnp.full(leaf.shape, next((value for name, value in weights.items() if name in str(names)), 1.0),
                        leaf.dtype)

    state = TrainState(step=jnp.asarray(3), params=jax.tree_util.tree_map_with_path(by_hand, params), model_state={},
                       opt_state=())
    checkpoints = Checkpoints(folder)
    checkpoints.save(state, experiment.identity)
    checkpoints.close()
    return folder
