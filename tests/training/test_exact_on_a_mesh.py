import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training import processes
from tests.training.exact import MESHES, Setup, assert_saved, momentum


@pytest.fixture
def double():
    with jax.enable_x64(True):
        yield


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


@pytest.mark.slow
def test_fifty_steps_in_float64_of_four_processes_agree_with_one_device(double, tmp_path):
    # Every process has a part of each: half of the rows, and parameters and columns of the transformer's layers. It has
    # one device: with two, the threads of XLA's collectives on the CPU waited for each other on a machine of two cores.
    started = processes.begin('tests.training.exact', tmp_path / 'run', processes=4, devices=1, folder=str(tmp_path),
                              steps=50)
    one = Setup(jnp.float64, momentum()).one(50)
    assert processes.finish(started, timeout=900) == [0] * 4, processes.output(tmp_path / 'run')
    assert_saved(tmp_path, 'parameters', one)
