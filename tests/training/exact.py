"""A transformer on pictures and a convolutional network on sound, trained on a mesh of one or of several processes."""

import json
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils

from tests.training import tiny
from vmmjax import models
from vmmjax.tasks import Classification
from vmmjax.training import Player, Players, make_mesh, make_train_step, optimizer, sharding
from vmmjax.training.distributed import joined
from vmmjax.training.state import initializer
from vmmjax.training.step import compile_train_step

MODEL = dict(
    encoders=dict(rgb=dict(name='vit', tubelet=(1, 8, 8), hidden_size=32, num_hidden_layers=1, num_attention_heads=4,
                           intermediate_size=64),
                  audio=dict(name='conv2d_audio', widths=(4, 8), features=16)),
    preprocess=dict(rgb='signed', audio='none'), fusion=dict(name='concat'), head=dict(name='consensus', dropout=0.0))
CLASSES, ROWS = 5, 16
QUICK = {'xla_backend_optimization_level': 0}
MESHES = {'data': dict(data=8, fsdp=1, model=1), 'fsdp': dict(data=2, fsdp=4, model=1),
          'tensor': dict(data=2, fsdp=1, model=4), 'all': dict(data=2, fsdp=2, model=2)}
ACROSS = dict(data=1, fsdp=2, model=2)


def batch(step):
    """Clips some of which lack a stream or do not count."""
    generator = np.random.default_rng(step)
    return {'rgb': generator.integers(0, 256, (ROWS, 2, 16, 16, 3)).astype(np.uint8),
            'audio': generator.standard_normal((ROWS, 8, 8)).astype(np.float32),
            'present/rgb': np.arange(ROWS) % 5 > 0, 'present/audio': np.arange(ROWS) % 3 > 0,
            'target/label': generator.integers(0, CLASSES, ROWS).astype(np.int32),
            'mask': (np.arange(ROWS) < ROWS - 3).astype(np.float32), 'id': (np.arange(ROWS) % 11).astype(np.int32)}


def put(clips, rows):
    """Moves the rows of this process to its devices."""
    own = sharding.local_rows(rows, ROWS)
    return sharding.put({key: value[own] for key, value in clips.items()}, rows)


def gathered(tree):
    """On the host, also what other processes have."""
    return multihost_utils.process_allgather(tree, tiled=True) if jax.process_count() > 1 else jax.device_get(tree)


class Setup:
    def __init__(self, dtype, transformation, task=None, *, network=MODEL, players=None, **options):
        model = models.create(network, CLASSES, dtype, dtype)
        task = task or Classification(target='label')

        def apply(variables, batch, **options):
            return model.apply(variables, model.preprocess(batch), **options)

        players = Players({name: Player(transformation, params) for name, params in players.items()} if players else
                          Player(transformation))

        def init(key):
            variables = dict(model.init(key, model.preprocess(batch(0)), train=False))
            own = task.init(key, apply(variables, batch(0), train=False), batch(0))
            return variables | {'params': {**variables['params'], **own.get('params', {})}}

        create = initializer(init, players)
        state = jax.jit(create, compiler_options=QUICK)(jax.random.key(0))
        # Fusion and head know no other parameters than float32.
        self.start = jax.device_get(jax.tree.map(
            lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state))
        self.step = lambda rows: make_train_step(apply, task, players, seed=0, rows=rows, **options)

    def run(self, axes, steps, devices=None):
        mesh = make_mesh(axes, devices)
        rows = sharding.batch_sharding(mesh)
        shardings = sharding.state_shardings(self.start, mesh, ('tensor_parallel',))
        state = jax.device_put(self.start, shardings)
        compiled = compile_train_step(self.step(rows), mesh, shardings).lower(
            state, put(batch(0), rows)).compile(compiler_options=QUICK)
        for step in range(steps):
            state, metrics = compiled(state, put(batch(step), rows))
        assert metrics['skipped'] == 0
        return gathered(state)

    def one(self, steps):
        return self.run(dict(data=1), steps, jax.devices()[:1])


def momentum():
    return optimizer.create(tiny.config(**{
        'steps': 60, 'optimizer.name': 'sgd', 'optimizer.options': {'momentum': 0.9, 'weight_decay': 1e-4},
        'optimizer.lr.peak': 0.05, 'optimizer.clip': 1.0}))


def main(options):
    """One process of several: checks the batches, trains on them all, and writes what came of it."""
    jax.config.update('jax_enable_x64', True)
    with joined(options['coordinator'], options['num_processes'], options['process_id']):
        rows = sharding.batch_sharding(make_mesh(ACROSS))
        tiny.assert_equal(gathered(put(batch(3), rows)), batch(3))
        save(options['folder'], 'parameters', Setup(jnp.float64, momentum()).run(ACROSS, options['steps']))


def save(folder, name, tree):
    """The arrays in a file, by the first process."""
    if jax.process_index() == 0:
        np.savez(Path(folder) / f'{name}.npz', *jax.tree.leaves(tree))


def assert_saved(folder, name, tree, tolerance=1e-9):
    """The arrays of a file are these to within so much."""
    with np.load(Path(folder) / f'{name}.npz') as many:
        largest = max(np.abs(a - b).max() for a, b in zip(many.values(), jax.tree.leaves(tree), strict=True))
    assert largest <= tolerance, (name, largest)


if __name__ == '__main__':
    main(json.loads(sys.argv[1]))
