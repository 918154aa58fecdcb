"""What can be told of the golden run: `python -m tests.golden_run.observe FOLDER` prints it, as expected.json has it.

FOLDER has `store` and `run`, as they were made or unpacked; the run in it goes on for a step.
"""

import hashlib
import json
import sys
from pathlib import Path

import jax
import numpy as np

from tests.cli.conftest import vmmjax
from vmmjax import config as configs
from vmmjax.experiment import Experiment
from vmmjax.training import Checkpoints

CONFIG = Path(__file__).with_name('config.py')


def digests(arrays):
    """Name -> shape, dtype and SHA-256."""
    return {name: f'{np.shape(array)} {array.dtype} {hashlib.sha256(np.asarray(array).tobytes()).hexdigest()}'
            for name, array in sorted(arrays.items())}


def batches(folder):
    """The first batch of training and of the test split, by the config in the checkpoint."""
    _, meta = Checkpoints(folder / 'run').newest_meta()
    config = configs.from_json(meta['config'])
    config.data.store = str(folder / 'store')
    run = Experiment(config)
    assert run.store.fingerprint == meta['fingerprint']
    assert run.task.classes == meta['classes']
    return {split: digests(next(run.pipeline(split, train=split == 'train').batches())) for split in ('train', 'test')}


def state(folder, step=2):
    """Every array of a checkpoint, on the host."""
    checkpoints = Checkpoints(folder / 'run')
    assert checkpoints.newest() == step
    where = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    kinds = {'step': np.int32, 'count': np.int32}
    wanted = {name: jax.ShapeDtypeStruct(shape, kinds.get(name.rpartition('/')[2], np.float32), sharding=where)
              for name, shape in checkpoints.shapes(step).items()}
    return jax.device_get(checkpoints.restore_arrays(step, wanted))


def evaluated(folder):
    """Scores of every clip and subset, and the metrics, by `vmmjax evaluate`."""
    found = vmmjax('evaluate', f'--workdir={folder / "run"}', f'--store={folder / "store"}')
    assert found.returncode == 0, found.stderr
    with np.load(folder / 'run' / 'eval' / 'test.npz') as scores:
        values = {name: scores[name].tolist() for name in scores.files if name.startswith('scores/')}
    return {**values, 'metrics': json.loads((folder / 'run' / 'eval' / 'test.json').read_text())['metrics']}


def resumed(folder):
    """The losses of a third step, and the lengths of all arrays after it."""
    found = vmmjax('train', f'--config={CONFIG}', f'--workdir={folder / "run"}', '--config.steps=3',
                   f'--config.data.store={folder / "store"}', '--allow_changed=steps')
    assert found.returncode == 0, found.stderr
    assert 'Going on from step 2' in found.stdout
    lines = [json.loads(line) for line in (folder / 'run' / 'log.jsonl').read_text().splitlines()]
    losses = {name: value for line in lines if line['step'] == 3 for name, value in line.items()
              if name.endswith('/loss')}
    return {**losses, **{name: float(np.linalg.norm(np.asarray(array, np.float64)))
                         for name, array in sorted(state(folder, 3).items())}}


if __name__ == '__main__':
    given = Path(sys.argv[1]).absolute()
    print(json.dumps({'batches': batches(given), 'state': digests(state(given)), 'evaluated': evaluated(given),
                      'resumed': resumed(given)}, indent=1))
