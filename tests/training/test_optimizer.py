import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training import tiny
from vmmjax.errors import UserError
from vmmjax.training import optimizer

PARAMS = {'conv1': {'kernel': jnp.full((3, 4), 2.0)}, 'bn1': {'bias': jnp.full(4, 3.0)},
          'fc': {'kernel': jnp.full((4, 2), -1.0), 'bias': jnp.full(2, 0.5)}}
GRADIENTS = jax.tree.map(lambda leaf: 0.1 * jnp.ones_like(leaf), PARAMS)


def settings(name, options, **changes):
    return tiny.config(**{'optimizer.name': name, 'optimizer.options': options, 'optimizer.lr.warmup_steps': 0,
                          'optimizer.lr.schedule': 'constant', 'optimizer.lr.peak': 0.5, 'optimizer.clip': 0.0,
                          **changes})


def moved(config, steps=1, gradients=GRADIENTS):
    """By how much the parameters have moved."""
    transformation, params = optimizer.create(config), PARAMS
    state = transformation.init(params)
    for _ in range(steps):
        updates, state = transformation.update(gradients, state, params)
        params = optax.apply_updates(params, updates)
    return jax.tree.map(np.subtract, params, PARAMS)


def test_the_published_groups_of_tsm_with_weight_decay_in_the_gradient():
    # PyTorch: v = 0.9 v + (g + wd p), p -= lr v.
    groups = (('conv1/kernel', 5.0, 1.0), ('fc/kernel', 5.0, 1.0), ('fc/bias', 10.0, 0.0))
    config = settings('sgd', {'momentum': 0.9, 'weight_decay': 0.01}, **{'optimizer.multipliers': groups})

    def expected(p, rate, decay, steps=3):
        start, v = p, 0.0
        for _ in range(steps):
            v = 0.9 * v + 0.1 + decay * p
            p -= rate * v
        return p - start

    found = moved(config, 3)
    np.testing.assert_allclose(found['conv1']['kernel'], expected(2.0, 2.5, 0.01), rtol=1e-6)
    np.testing.assert_allclose(found['bn1']['bias'], expected(3.0, 0.5, 0), rtol=1e-6)
    np.testing.assert_allclose(found['fc']['kernel'], expected(-1.0, 2.5, 0.01), rtol=1e-6)
    np.testing.assert_allclose(found['fc']['bias'], expected(0.5, 5.0, 0), rtol=1e-6)


@pytest.mark.parametrize(('name', 'options'), [
    ('sgd', {'momentum': 0.9}), ('adamw', {'weight_decay': 0.1}), ('lamb', {'weight_decay': 0.1}),
    ('lars', {'weight_decay': 0.1})])
def test_a_multiplier_of_the_rate_multiplies_every_step_of_every_optimizer(name, options):
    plain = moved(settings(name, options))
    double = moved(settings(name, options, **{'optimizer.multipliers': (('fc', 2.0, 1.0),)}))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(2 * a, b, rtol=1e-5), plain['fc'], double['fc'])
    jax.tree.map(np.testing.assert_array_equal, plain['conv1'], double['conv1'])


@pytest.mark.parametrize(('name', 'options'), [
    ('sgd', {'weight_decay': 0.1}), ('adamw', {'weight_decay': 0.1}), ('lars', {'weight_decay': 0.1})])
def test_a_multiplier_of_the_decay_is_of_the_kernels_that_match(name, options):
    with_it = moved(settings(name, options, **{'optimizer.multipliers': (('fc', 1.0, 0.0),)}))
    without, plain = moved(settings(name, options | {'weight_decay': 0.0})), moved(settings(name, options))
    jax.tree.map(np.testing.assert_array_equal, with_it['fc'], without['fc'])
    jax.tree.map(np.testing.assert_array_equal, with_it['conv1'], plain['conv1'])
    assert not np.allclose(plain['fc']['kernel'], without['fc']['kernel'])
    np.testing.assert_array_equal(plain['bn1']['bias'], without['bn1']['bias'])


def test_lars_adapts_kernels_alone():
    # You et al. 2017: the update is as long as trust_coefficient times the parameters.
    found = moved(settings('lars', {'trust_coefficient': 0.01}))
    np.testing.assert_allclose(optax.tree.norm(found['conv1']['kernel']),
                               0.5 * 0.01 * optax.tree.norm(PARAMS['conv1']['kernel']), rtol=1e-5)
    np.testing.assert_allclose(found['bn1']['bias'], -0.5 * 0.1, rtol=1e-6)


def test_the_norm_that_is_clipped_is_of_all_groups_but_not_of_what_is_frozen():
    groups = {'optimizer.multipliers': (('fc', 2.0, 1.0),), 'optimizer.clip': 0.01}
    found = moved(settings('sgd', {}, **groups))
    norm = optax.tree.norm(GRADIENTS)
    np.testing.assert_allclose(found['conv1']['kernel'], -0.5 * 0.1 * 0.01 / norm, rtol=1e-3)
    np.testing.assert_allclose(found['fc']['bias'], -1.0 * 0.1 * 0.01 / norm, rtol=1e-3)
    found = moved(settings('sgd', {}, **groups, freeze=('conv1',)))
    norm = optax.tree.norm({**GRADIENTS, 'conv1': {}})
    np.testing.assert_array_equal(found['conv1']['kernel'], 0)
    np.testing.assert_allclose(found['bn1']['bias'], -0.5 * 0.1 * 0.01 / norm, rtol=1e-3)


def test_encoders_that_only_give_features_are_frozen_too():
    config = settings('sgd', {}, **{'model.fixed': ('rgb',), 'freeze': ('head',)})
    params = {name: {'kernel': jnp.ones((2, 2))} for name in ('encoders_rgb', 'encoders_rgb2', 'head')}
    transformation = optimizer.create(config)
    updates, _ = transformation.update(params, transformation.init(params), params)
    assert {name: bool(leaf['kernel'].any()) for name, leaf in updates.items()} == {
        'encoders_rgb': False, 'encoders_rgb2': True, 'head': False}


def test_the_rate_falls_at_milestones_after_the_warm_up():
    lr = tiny.config(**{'steps': 60, 'optimizer.lr.peak': 0.1, 'optimizer.lr.warmup_steps': 4,
                        'optimizer.lr.schedule': 'step', 'optimizer.lr.milestones': (20, 40)}).optimizer.lr
    schedule = optimizer.learning_rate(lr, 60)
    rates = [float(schedule(step)) for step in (0, 2, 4, 19, 20, 39, 40, 59)]
    np.testing.assert_allclose(rates, [0, 0.05, 0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-5)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'optimizer.lr.schedule': 'step'}, "schedule 'step' needs milestones"),
    ({'optimizer.lr.milestones': (10,)}, "schedule 'constant' and milestones"),
    ({'optimizer.lr.schedule': 'step', 'optimizer.lr.milestones': (10, 5)}, 'must rise'),
    ({'optimizer.lr.schedule': 'step', 'optimizer.lr.milestones': (10, 20)}, 'less than the 20 of config.steps'),
    ({'optimizer.multipliers': (('fc', 1.0),)}, 'must be triples'),
    ({'optimizer.multipliers': (('fc', 1.0, 0.0),), 'optimizer.name': 'optax:adam'}, 'has no weight decay'),
    ({'optimizer.options': {'mask': 1}}, "takes no option 'mask'"),
    ({'optimizer.options': {'learning_rate': 1}}, "takes no option 'learning_rate'"),
])
def test_what_cannot_be_is_one_sentence(changes, message):
    with pytest.raises(UserError, match=message):
        moved(settings('sgd', {}, **changes))


LAYERS = {'optimizer.layers': ('conv1/', 'bn1/'), 'optimizer.layer_decay': 0.5}


def test_deeper_layers_learn_faster():
    found = moved(settings('sgd', {}, **LAYERS, **{'optimizer.multipliers': (('fc/bias', 3.0, 1.0),)}))
    expected = {'conv1': {'kernel': 0.25}, 'bn1': {'bias': 0.5}, 'fc': {'kernel': 1.0, 'bias': 3.0}}
    jax.tree.map(lambda leaf, times: np.testing.assert_allclose(leaf, -0.05 * times, rtol=1e-5), found, expected)


@pytest.mark.parametrize(('steps', 'conv', 'norm'), [(2, 0, 0), (4, 0, 2), (5, 1, 3)])
def test_layers_begin_to_learn_one_after_another_from_the_last(steps, conv, norm):
    found = moved(settings('adamw', {'weight_decay': 0.1}, **{
        'optimizer.layers': LAYERS['optimizer.layers'], 'optimizer.unfreeze_every': 2}), steps)
    assert (found['fc']['bias'] != 0).all()
    for leaf, count, decay in ((found['conv1']['kernel'], conv, 0.2), (found['bn1']['bias'], norm, 0.0)):
        if not count:
            assert (leaf == 0).all()
        else:  # By Adam's 1 a step and the decay of kernels.
            np.testing.assert_allclose(leaf, -0.5 * (1 + decay) * count, rtol=0.05)


@pytest.mark.parametrize(('change', 'message'), [
    ({'optimizer.layers': ('conv9',)}, "'conv9' of config.optimizer.layers matches no path"),
    ({**LAYERS, 'optimizer.layer_decay': 0.0}, 'layer_decay is 0.0')])
def test_layers_that_are_not_there(change, message):
    with pytest.raises(UserError, match=message):
        optimizer.players(settings('sgd', {}, **change)).slots(PARAMS)
