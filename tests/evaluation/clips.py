"""A store whose clips tell every kind of target in two columns of sensors, and a run of any task on it."""

import csv
from pathlib import Path

import numpy as np

from tests.evaluation.sensors import COLUMNS, SECONDS, SIZES, Sensor, facts
from vmmjax import config as configs
from vmmjax.cli.setup import Run
from vmmjax.evaluation.predictions import predict
from vmmjax.media.writer import write_clip
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.training import train


def make_store(folder: Path) -> Path:
    """Prepares it."""
    write_clip(folder / 'clip.mp4', np.zeros((20, 24, 32, 3), np.uint8), fps=10)
    lines = []
    for split, count in SIZES.items():
        for _ in range(count):
            number = len(lines)
            lines.append({'path': 'clip.mp4', 'id': str(number), 'split': split, **facts(number)})
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
    """A run, its last state, and what was logged at its end."""
    folder.mkdir()
    run, found = Run(config), {}
    pipeline = run.pipeline('train', train=True)

    def evaluate(state):
        found.update(run.task.summary(run.measure(predict, state, 'validation')))
        return {f'validation/{name}': value for name, value in found.items()}

    state = train(config, folder, mesh=run.mesh, apply=run.apply, init=run.init, objective=run.task.objective,
                  batches=lambda step: pipeline.batches(step, run.rows), evaluate=evaluate,
                  identity={'config': configs.to_json(config), 'fingerprint': run.store.fingerprint,
                            'classes': run.classes})
    return run, state, found


def result_of(run, state, split='test'):
    return run.task.result(run.measure(run.task.predictions, state, split), split=split, step=int(state.step))
