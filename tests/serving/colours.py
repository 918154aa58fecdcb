"""Clips that are as their texts say (a colour, a pitch), and a run that matched pictures, sounds and texts."""

import csv

import jax
import numpy as np

from tests.evaluation import clips, runs
from vmmjax import config as configs
from vmmjax.experiment import Experiment
from vmmjax.media.writer import write_clip

COLOURS = {'red': (200, 20, 20), 'green': (20, 200, 20), 'blue': (20, 20, 200)}
PITCHES = {'low': 400, 'high': 2500}
RATE = 8000


def write(path, colour, pitch, seconds=1.2, seed=0, silent=False):
    """A film of one colour and one tone, a little noise in both."""
    random = np.random.default_rng(seed)
    frames = np.clip(np.array(COLOURS[colour]) + random.normal(0, 12, (round(10 * seconds), 24, 32, 3)), 0, 255)
    times = np.arange(round(RATE * seconds)) / RATE
    sound = 0.3 * np.sin(2 * np.pi * PITCHES[pitch] * times) + random.normal(0, 0.01, len(times))
    write_clip(path, frames.astype(np.uint8), fps=10, waveform=None if silent else sound.astype(np.float32), rate=RATE)


def make_store(folder):
    """Prepares 24 clips for training and 6 for each of validation and test, one of each colour and pitch in turn."""
    folder.mkdir(exist_ok=True)
    kinds = [(colour, pitch) for colour in COLOURS for pitch in PITCHES]
    lines = []
    for split, count in (('train', 24), ('validation', 6), ('test', 6)):
        for _ in range(count):
            number = len(lines)
            colour, pitch = kinds[number % 6]
            write(folder / f'{number}.mp4', colour, pitch, seed=number)
            lines.append([f'{number}.mp4', f'{split}{number}', split, f'a {colour} film sounds {pitch}'])
    with open(folder / 'manifest.csv', 'w', newline='') as file:
        csv.writer(file).writerows([['path', 'id', 'split', 'text'], *lines])
    return runs.prepared(folder / 'manifest.csv', folder / 'store')


def trained(store, folder):
    """The folder of a run of the task contrastive."""
    config = clips.config_of(store.path, dict(name='contrastive', streams=('rgb', 'audio', 'text'), dimensions=8),
                             'text', streams=('rgb', 'audio', 'text'), steps=80, head={}).unlock()
    config.data.window.seconds = 1.0
    config.data.streams = dict(rgb=runs.RGB, audio=runs.AUDIO, text=dict(modality='text:text', length=6))
    config.model.preprocess.update(rgb='signed', text='ids')
    config.model.encoders.text = dict(name='gru', vocab_size=16, embedding_size=8, hidden_size=16)
    Experiment(configs.lock(config), devices=jax.devices()[:1]).train(folder)
    return folder
