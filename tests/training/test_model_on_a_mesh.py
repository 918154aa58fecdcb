"""A whole model, with absent streams and padding, on eight devices as on one."""

import jax
import numpy as np
import optax
import pytest

from tests.experiments.test_configs import CLASSES, QUICK, clips, load
from vmmjax import models, tasks
from vmmjax.training import Player, Players, make_mesh, make_train_step, sharding
from vmmjax.training.state import initializer


@pytest.mark.slow
def test_the_first_gradients_agree():
    _, config = load('systems/cnn_bilstm', '')
    batch = clips(config, 16)
    batch['mask'][-1] = 0
    batch['present/rgb'][::3] = False
    model = models.create(config.model, CLASSES)

    def apply(variables, batch, **options):
        return model.apply(variables, model.preprocess(batch), **options)

    # A step of SGD with rate 1 moves the parameters by their gradients.
    players = Players(Player(optax.sgd(1.0)))
    create = initializer(lambda key: model.init(key, model.preprocess(batch), train=False), players)
    start = jax.device_get(jax.jit(create, compiler_options=QUICK)(jax.random.key(0)))
    step = make_train_step(apply, tasks.create(config), players, seed=0)

    def first(axes, devices):
        where = make_mesh(axes, devices)
        shardings = sharding.state_shardings(start, where)
        rows = sharding.batch_sharding(where)
        compiled = jax.jit(step, in_shardings=(shardings, rows), out_shardings=(shardings, sharding.replicated(where)),
                           compiler_options=QUICK)
        state, _ = compiled(jax.device_put(start, shardings), sharding.put(batch, rows))
        return jax.device_get(state)

    # Rows are divided among all eight here, too; tests/training/test_exact_on_a_mesh.py has every kind of mesh.
    one, many = first(dict(data=1, fsdp=1), jax.devices()[:1]), first(dict(data=2, fsdp=4), jax.devices())
    gradient = jax.tree.map(np.subtract, one.params, start.params)
    difference = jax.tree.map(np.subtract, one.params, many.params)
    assert optax.tree.norm(difference) <= 1e-5 * optax.tree.norm(gradient)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one.model_state,
                 many.model_state)
