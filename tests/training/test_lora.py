import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from tests.training import tiny
from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.tasks import Classification
from vmmjax.training import Checkpoints, lora, make_train_step, optimizer, warmstart
from vmmjax.training.state import initializer


class Net(nn.Module):
    """A convolution, a dense layer, a head."""

    @nn.compact
    def __call__(self, batch, train):
        x = nn.relu(nn.Conv(6, (3,), name='conv')(batch['x'].reshape(-1, 4, 2)))
        x = nn.relu(nn.Dense(5, name='inner')(x.reshape(len(x), -1)))
        return tiny.Outputs(nn.Dense(4, name='head')(x))


def config(**changes):
    return tiny.config(**{'lora.rank': 2, 'lora.kernels': ('conv/kernel', 'inner/kernel'),
                          'optimizer.lr.warmup_steps': 0, **changes})


def start(settings):
    def init(key):
        variables = Net().init(key, next(tiny.batches(0)), train=False)
        factors = lora.adapters(key, variables['params'], settings.lora)
        return {'params': {**variables['params'], lora.LORA: factors}}

    return initializer(init, optimizer.players(settings))(jax.random.key(0))


def apply_of(settings):
    return lambda variables, batch, **options: Net().apply(lora.merged(variables, settings.lora), batch, **options)


@pytest.fixture(scope='module')
def adapted():
    """The state before and after some steps."""
    settings = config()
    first = start(settings)
    step = jax.jit(make_train_step(apply_of(settings), Classification(target='label'), optimizer.players(settings),
                                   seed=0, freeze=optimizer.frozen(settings)))
    state = first
    for batch, _ in zip(tiny.batches(0), range(5), strict=False):
        state, _ = step(state, batch)
    return settings, first, state


def test_the_first_outputs_are_those_of_the_network_exactly(adapted):
    settings, first, _ = adapted
    plain = {name: values for name, values in first.params.items() if name != lora.LORA}
    batch = next(tiny.batches(0))
    np.testing.assert_array_equal(apply_of(settings)({'params': first.params}, batch, train=False).logits,
                                  Net().apply({'params': plain}, batch, train=False).logits)


def test_factors_and_head_move_and_nothing_else_does(adapted):
    _, first, last = adapted
    for name in ('conv', 'inner'):
        tiny.assert_equal(first.params[name], last.params[name])
        moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), first.params[lora.LORA][name],
                             last.params[lora.LORA][name])
        assert all(jax.tree.leaves(moved)), name
    assert not np.array_equal(first.params['head']['kernel'], last.params['head']['kernel'])
    slots = {leaf.shape for leaf in jax.tree.leaves(last.opt_state)}
    assert first.params['inner']['kernel'].shape not in slots
    assert first.params[lora.LORA]['inner']['kernel']['a'].shape in slots


def test_merging_is_exact(adapted):
    settings, _, last = adapted
    merged = lora.merged({'params': last.params}, settings.lora)
    factors = last.params[lora.LORA]['conv']['kernel']
    np.testing.assert_allclose(merged['params']['conv']['kernel'].reshape(6, 6), last.params['conv']['kernel'].reshape(
        6, 6) + 8 / 2 * np.asarray(factors['a']) @ np.asarray(factors['b']), rtol=1e-5, atol=1e-7)
    batch = next(tiny.batches(7))
    np.testing.assert_array_equal(Net().apply(merged, batch, train=False).logits,
                                  apply_of(settings)({'params': last.params}, batch, train=False).logits)
    assert lora.LORA not in merged['params']


@pytest.mark.parametrize('again', [False, True])
def test_another_run_begins_with_the_merged_kernels(adapted, tmp_path, again):
    settings, _, last = adapted
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(last, {'config': configs.to_json(settings)})
    checkpoints.close()
    fresh = start(settings)
    if not again:
        fresh.params.pop(lora.LORA)
    found = warmstart.load(fresh, [tmp_path], ()).params
    expected = lora.merged({'params': last.params}, settings.lora)['params']
    for name in expected:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8), found[name], expected[name])
    if again:  # With factors of its own, at their beginning.
        assert not jnp.any(found[lora.LORA]['conv']['kernel']['b'])


@pytest.mark.parametrize(('change', 'message'), [
    ({'lora.kernels': ('conv9',)}, "'conv9' of config.lora.kernels matches no path"),
    ({'lora.kernels': ('conv/',)}, 'conv/bias of shape .*, which is no kernel'),
    ({'lora.train': ('hat',)}, "'hat' of config.lora.train matches no path")])
def test_what_a_config_gets_wrong(change, message):
    with pytest.raises(UserError, match=message):
        start(config(**change))


def test_without_it_nothing_is_frozen():
    assert optimizer.frozen(tiny.config()) == []
    assert optax.tree.norm(start(config()).params[lora.LORA]) > 0
