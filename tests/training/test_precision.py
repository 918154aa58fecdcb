"""Half precision by the config: parameters and statistics stay float32, gradients stay near."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training.exact import CLASSES, MODEL, batch
from vmmjax import models, tasks
from vmmjax.training import Player, Players, make_train_step
from vmmjax.training.state import initializer

QUICK = {'xla_backend_optimization_level': 0}


def stepped(dtype):
    """One step of SGD with rate 1, from the same weights: gradients are differences."""
    model = models.create(MODEL | dict(dtype=dtype), CLASSES)

    def apply(variables, batch, **options):
        return model.apply(variables, model.preprocess(batch), **options)

    players = Players(Player(optax.sgd(1.0)))
    create = initializer(lambda key: model.init(key, model.preprocess(batch(0)), train=False), players,
                         dtype == 'float16')
    start = jax.jit(create, compiler_options=QUICK)(jax.random.key(0))
    step = jax.jit(make_train_step(apply, tasks.Classification(target='label'), players, seed=0),
                   compiler_options=QUICK)
    lowered = step.lower(start, batch(0))
    compiled = lowered.compile()
    state, metrics = compiled(start, batch(0))
    while metrics['skipped'] and state.step < 8:  # The first loss scales are too large for float16.
        state, metrics = compiled(state, batch(0))
    return lowered.as_text(), jax.tree.map(jnp.subtract, state.params, start.params), state, metrics


@pytest.fixture(scope='module')
def single():
    return stepped('float32')


@pytest.mark.slow
@pytest.mark.parametrize(('dtype', 'short', 'tolerance'), [('bfloat16', 'bf16', 0.1), ('float16', 'f16', 0.02)])
def test_computations_are_of_half_precision_and_what_is_kept_is_not(single, dtype, short, tolerance):
    text, gradients, state, metrics = stepped(dtype)
    products = [line for line in text.splitlines() if 'dot_general' in line or 'stablehlo.convolution' in line]
    assert np.mean([f'x{short}>' in line for line in products]) > 0.9
    assert not any(f'x{short}>' in line for line in single[0].splitlines())
    assert {leaf.dtype for leaf in jax.tree.leaves((state.params, state.model_state))} == {jnp.dtype(jnp.float32)}
    assert metrics['skipped'] == 0
    assert state.step == 1 or dtype == 'float16'
    assert (state.loss_scale is None) == (dtype == 'bfloat16')
    difference = jax.tree.map(jnp.subtract, gradients, single[1])
    assert optax.tree.norm(difference) < tolerance * optax.tree.norm(single[1])
