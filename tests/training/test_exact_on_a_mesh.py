"""A transformer on pictures and a convolutional network on sound: on any mesh as on one device."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training import tiny
from vmmjax import models, objectives
from vmmjax.training import make_mesh, make_train_step, optimizer, sharding
from vmmjax.training.state import initializer
from vmmjax.training.step import compile_train_step

MODEL = dict(
    encoders=dict(rgb=dict(name='vit', tubelet=(1, 8, 8), hidden_size=32, num_hidden_layers=2, num_attention_heads=4,
                           intermediate_size=64),
                  audio=dict(name='conv2d_audio', widths=(4, 8), features=16)),
    preprocess=dict(rgb='signed', audio='none'), fusion=dict(name='concat'), head=dict(name='consensus', dropout=0.0))
CLASSES, ROWS = 5, 16
QUICK = {'xla_backend_optimization_level': 0}
MESHES = {'data': dict(data=8, fsdp=1, model=1), 'fsdp': dict(data=2, fsdp=4, model=1),
          'tensor': dict(data=2, fsdp=1, model=4), 'all': dict(data=2, fsdp=2, model=2)}


def batch(step):
    """Clips some of which lack a stream or do not count."""
    generator = np.random.default_rng(step)
    return {'rgb': generator.integers(0, 256, (ROWS, 2, 16, 16, 3)).astype(np.uint8),
            'audio': generator.standard_normal((ROWS, 8, 8)).astype(np.float32),
            'present/rgb': np.arange(ROWS) % 5 > 0, 'present/audio': np.arange(ROWS) % 3 > 0,
            'target/label': generator.integers(0, CLASSES, ROWS).astype(np.int32),
            'mask': (np.arange(ROWS) < ROWS - 3).astype(np.float32)}


class Setup:
    def __init__(self, dtype, transformation, **options):
        model = models.create(MODEL, CLASSES, dtype, dtype)

        def apply(variables, batch, **options):
            return model.apply(variables, model.preprocess(batch), **options)

        create = initializer(lambda key: model.init(key, model.preprocess(batch(0)), train=False), transformation,
                             False)
        state = jax.jit(create)(jax.random.key(0))
        # Fusion and head know no other parameters than float32.
        self.start = jax.device_get(jax.tree.map(
            lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, state))
        self.step = lambda rows: make_train_step(apply, objectives.Classification('label'), transformation, seed=0,
                                                 rows=rows, **options)

    def run(self, axes, steps, devices=None):
        mesh = make_mesh(axes, devices)
        rows = sharding.batch_sharding(mesh)
        shardings = sharding.state_shardings(self.start, mesh, ('tensor_parallel',))
        state = jax.device_put(self.start, shardings)
        compiled = compile_train_step(self.step(rows), mesh, shardings).lower(
            state, sharding.put(batch(0), rows)).compile(compiler_options=QUICK)
        for step in range(steps):
            state, metrics = compiled(state, sharding.put(batch(step), rows))
        assert metrics['skipped'] == 0
        return jax.device_get(state)

    def one(self, steps):
        return self.run(dict(data=1), steps, jax.devices()[:1])


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


def momentum():
    return optimizer.create(tiny.config(**{
        'steps': 60, 'optimizer.name': 'sgd', 'optimizer.options': {'momentum': 0.9, 'weight_decay': 1e-4},
        'optimizer.lr.peak': 0.05, 'optimizer.clip': 1.0}))


@pytest.mark.slow
@pytest.mark.parametrize(('microbatches', 'meshes'), [(1, MESHES), (2, ['all'])])
def test_fifty_steps_in_float64_agree_with_one_device(double, microbatches, meshes):
    setup = Setup(jnp.float64, momentum(), microbatches=microbatches)
    one = setup.one(50)
    moved = optax.tree.norm(jax.tree.map(np.subtract, one.params, setup.start.params))
    assert moved > 0.05 * optax.tree.norm(setup.start.params)
    for name in meshes:
        many = setup.run(MESHES[name], 50)
        largest = max(jax.tree.leaves(jax.tree.map(lambda a, b: np.abs(a - b).max(), one, many)))
        assert largest <= 1e-9, (name, largest)


@pytest.fixture(scope='module')
def single():
    setup = Setup(jnp.float32, optax.sgd(1.0))
    return setup, setup.one(1)


@pytest.mark.parametrize('name', [*(pytest.param(name, marks=pytest.mark.slow) for name in ('data', 'fsdp', 'tensor')),
                                  'all'])
def test_the_first_gradients_in_float32_agree_with_one_device(single, name):
    setup, one = single
    many = setup.run(MESHES[name], 1)
    gradient = jax.tree.map(np.subtract, one.params, setup.start.params)
    difference = jax.tree.map(np.subtract, one.params, many.params)
    assert optax.tree.norm(difference) <= 1e-5 * optax.tree.norm(gradient)
