"""A store whose clips tell every kind of target in two columns of sensors, and a run of any task on it."""

import csv
import json
from pathlib import Path

import jax
import numpy as np

from tests.evaluation.sensors import COLUMNS, SECONDS, SIZES, Sensor, facts
from vmmjax import config as configs
from vmmjax.experiment import Experiment
from vmmjax.media.writer import write_clip
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare


def make_store(folder: Path, letters: str = 'abc') -> Path:
    """Prepares it, with the clips of some letters."""
    folder.mkdir(exist_ok=True)
    write_clip(folder / 'clip.mp4', np.zeros((20, 24, 32, 3), np.uint8), fps=10)
    lines = []
    for split, count in SIZES.items():
        for _ in range(count):
            number = len(lines)
            lines.append({'path': 'clip.mp4', 'id': str(number), 'split': split, **facts(number)})
    lines = [line for line in lines if line['letter'] in letters]
    with open(folder / 'manifest.csv', 'w', newline='') as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows(lines)
    prepare(sources.read(str(folder / 'manifest.csv')), folder / 'store', (Sensor('one'), Sensor('two')),
            origin='tiny', processes=1, progress=False)
    return folder / 'store'


def config_of(store, task, target, *, streams=('one', 'two'), steps=120, **model):
    config = configs.defaults()
    config.steps, config.batch_size, config.log_every, config.evaluate_every = steps, 16, 20, 0
    config.optimizer.lr.peak, config.optimizer.lr.warmup_steps = 0.03, 5
    config.task = task
    config.data.store, config.data.target = str(store), target
    config.data.window.seconds = SECONDS
    config.data.streams = {name: dict(modality=name) for name in streams}
    config.model.preprocess = dict.fromkeys(streams, 'none')
    config.model.encoders = {name: dict(name='tests.cli.toy:Average') for name in streams}
    for key, value in model.items():
        config.model[key] = value
    return configs.lock(config)


def trained(config, folder):
    """An experiment trained on one device, and what was logged at its end."""
    experiment = Experiment(config, devices=jax.devices()[:1]).train(folder)
    lines = map(json.loads, (folder / 'log.jsonl').read_text().splitlines())
    measured = [line for line in lines if 'validation/loss' in line][-1]
    return experiment, {name: value for name, value in measured.items() if name.startswith('validation/')}
