"""A small model, objective and feed with the interfaces of the real ones, for tests of the trainer."""

import dataclasses
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from vmmjax import config as configs
from vmmjax.tasks import Classification
from vmmjax.training import make_mesh, train
from vmmjax.training.workdir import hold


@dataclasses.dataclass
class Outputs:
    logits: jax.Array


class Tiny(nn.Module):
    width: int = 16
    classes: int = 4
    dropout: float = 0.1

    @nn.compact
    def __call__(self, batch, train):
        x = nn.Dense(self.width, name='inner')(batch['x'])
        x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9, name='norm')(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return Outputs(nn.Dense(self.classes, name='head')(x))


def batches(start: int, batch_size: int = 16):
    """An endless, learnable feed that depends on the step alone."""
    for step in range(start, 10**9):
        generator = np.random.default_rng(step)
        target = generator.integers(0, 4, batch_size).astype(np.int32)
        x = generator.standard_normal((batch_size, 8)).astype(np.float32)
        x[:, :4] += 2 * np.eye(4, dtype=np.float32)[target]
        ids = np.arange(step * batch_size, (step + 1) * batch_size, dtype=np.int32)
        yield {'x': x, 'target/label': target, 'mask': np.ones(batch_size, np.float32), 'id': ids}


def config(**changes: Any):
    result = configs.defaults()
    result.update(dict(steps=20, batch_size=16, log_every=5, evaluate_every=0, checkpoint_every=5))
    result.optimizer.lr.update(dict(warmup_steps=2, peak=1e-2))
    result.data.streams = {}
    result.update_from_flattened_dict(changes)
    return configs.lock(result)


def run(folder, settings, *, model=None, devices=None, feed=batches, evaluate=lambda state: {},
        allow_changed=()):
    """Trains as `vmmjax train` does; returns the last state."""
    model = model or Tiny()
    example = {'x': jnp.zeros((1, 8))}
    with hold(folder):
        return train(settings, folder, mesh=make_mesh(settings.mesh, devices or jax.devices()[:1]),
                     apply=model.apply, init=lambda key: model.init(key, example, train=False),
                     objective=Classification(target='label'), batches=feed, evaluate=evaluate,
                     identity={'config': configs.to_json(settings), 'fingerprint': 'f', 'classes': list('abcd')},
                     allow_changed=allow_changed)


def assert_equal(a, b):
    """Bit for bit."""
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(a), jax.device_get(b))
