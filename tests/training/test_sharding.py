import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tests.training import tiny
from vmmjax.errors import UserError
from vmmjax.training import sharding

SGD = {'optimizer.name': 'sgd', 'optimizer.options': {'momentum': 0.9}, 'optimizer.clip': 0.0}


def test_a_mesh_takes_what_is_left():
    mesh = sharding.make_mesh(dict(data=-1, fsdp=2, model=1))
    assert dict(mesh.shape) == {'data': 4, 'fsdp': 2, 'model': 1}


@pytest.mark.parametrize('axes', [dict(data=3, fsdp=1), dict(data=-1, fsdp=3), dict(data=-1, fsdp=-1)])
def test_a_mesh_that_does_not_fit_is_refused(axes):
    with pytest.raises(UserError, match=r'config\.mesh'):
        sharding.make_mesh(axes)


def test_rules_come_first_then_the_largest_divisible_axis():
    mesh = sharding.make_mesh(dict(data=2, fsdp=2, model=2))
    tree = {'a': {'kernel': jax.ShapeDtypeStruct((6, 8), jnp.float32)},
            'b': {'kernel': jax.ShapeDtypeStruct((3, 4), jnp.float32), 'bias': jax.ShapeDtypeStruct((3,), jnp.float32)}}
    found = sharding.state_shardings(tree, mesh, (('b/kernel', (None, 'model')),))
    assert found['a']['kernel'].spec == P(None, 'fsdp')
    assert found['b']['kernel'].spec == P(None, 'model')
    assert found['b']['bias'].spec == P()


@pytest.mark.parametrize(('rule', 'message'), [
    (('c/kernel', (None, 'model')), 'matches no path'),
    (('a/kernel', ('model',)), 'does not fit a/kernel'),
    (('a/kernel', ('model', None)), 'does not fit a/kernel'),
    (('a/kernel', (None, 'modle')), "an axis that config.mesh lacks: did you mean 'model'"),
    ('tensor_paralel', "no set of rules 'tensor_paralel': did you mean 'tensor_parallel'"),
    ('tensor_parallel', "'tensor_parallel' of config.sharding split nothing"),
])
def test_a_rule_that_does_not_apply_is_an_error(rule, message):
    mesh = sharding.make_mesh(dict(data=4, model=2))
    with pytest.raises(UserError, match=message):
        sharding.state_shardings({'a': {'kernel': jax.ShapeDtypeStruct((3, 4), jnp.float32)}}, mesh, (rule,))


TRANSFORMER = {
    'embedding': (40000, 64), 'layer_0/attention/query/kernel': (64, 64), 'layer_0/attention/query/bias': (64,),
    'layer_0/attention/output/kernel': (64, 64), 'layer_0/attention/output/bias': (64,),
    'layer_0/intermediate/kernel': (64, 256), 'layer_0/intermediate/bias': (256,), 'layer_0/output/kernel': (256, 64),
    'fc/kernel': (4096, 1024), 'head/kernel': (64, 10), 'conv/kernel': (3, 3, 256, 512), 'odd/query/kernel': (64, 63)}


def specs(mesh, rules=('tensor_parallel',)):
    tree = {'params': {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in TRANSFORMER.items()}}
    return {name: sharding.spec for name, sharding in sharding.state_shardings(tree, mesh, rules)['params'].items()}


def test_the_tensor_parallel_set_splits_transformers_words_and_large_dense_layers():
    found = specs(sharding.make_mesh(dict(data=4, fsdp=1, model=2)))
    assert found == {
        'embedding': P(None, 'model'), 'layer_0/attention/query/kernel': P(None, 'model'),
        'layer_0/attention/query/bias': P('model'), 'layer_0/attention/output/kernel': P('model', None),
        'layer_0/attention/output/bias': P(), 'layer_0/intermediate/kernel': P(None, 'model'),
        'layer_0/intermediate/bias': P('model'), 'layer_0/output/kernel': P('model', None),
        'fc/kernel': P(None, 'model'), 'head/kernel': P(), 'conv/kernel': P(), 'odd/query/kernel': P()}


def test_fsdp_splits_beside_a_set_and_rules_come_before_it():
    mesh = sharding.make_mesh(dict(data=1, fsdp=4, model=2))
    found = specs(mesh, (('fc/kernel', (None, None)), 'tensor_parallel'))
    assert found['layer_0/intermediate/kernel'] == P('fsdp', 'model')
    assert found['layer_0/output/kernel'] == P('model', 'fsdp')
    assert found['conv/kernel'] == P(None, None, None, 'fsdp')
    assert found['fc/kernel'] == P(None, None)


def test_a_set_asks_for_nothing_on_a_mesh_without_its_axis():
    assert set(specs(sharding.make_mesh(dict(data=8, fsdp=1, model=1))).values()) == {P()}


def test_a_batch_must_split_over_the_devices():
    mesh = sharding.make_mesh(dict(data=-1, fsdp=1, model=1))
    assert sharding.local_rows(sharding.batch_sharding(mesh), 16) == slice(0, 16)
    with pytest.raises(UserError, match=r'batch of 12 clips does not split over 8 devices'):
        sharding.local_rows(sharding.batch_sharding(mesh), 12)


@pytest.mark.parametrize('mesh', [dict(data=8, fsdp=1, model=1), dict(data=2, fsdp=4, model=1),
                                  dict(data=1, fsdp=8, model=1)], ids=['data', 'mixed', 'fsdp'])
def test_training_on_a_mesh_equals_training_on_one_device(tmp_path, mesh):
    one = tiny.run(tmp_path / 'one', tiny.config(**SGD))
    many = tiny.run(tmp_path / 'many', tiny.config(**SGD, mesh=mesh), devices=jax.devices())
    if mesh['fsdp'] > 1:
        assert not many.params['inner']['kernel'].sharding.is_fully_replicated
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5),
                 jax.device_get(one), jax.device_get(many))


def test_a_tensor_parallel_rule_covers_parameters_and_momentum(tmp_path):
    rules = (('inner/kernel', (None, 'model')), ('head/kernel', ('model', None)))
    settings = dict(mesh=dict(data=2, fsdp=2, model=2), sharding=rules)
    state = tiny.run(tmp_path / 'many', tiny.config(**SGD, **settings), devices=jax.devices())
    kernels = [leaf for path, leaf in jax.tree_util.tree_leaves_with_path(state)
               if 'inner/kernel' in jax.tree_util.keystr(path, simple=True, separator='/')]
    assert len(kernels) == 2
    assert all(leaf.sharding.spec == P(None, 'model') for leaf in kernels)


def test_a_checkpoint_moves_between_meshes(tmp_path):
    settings = dict(SGD, steps=10, mesh=dict(data=2, fsdp=4, model=1))
    many = tiny.run(tmp_path, tiny.config(**settings), devices=jax.devices())
    one = tiny.run(tmp_path, tiny.config(**SGD, steps=10), allow_changed=['mesh'])
    tiny.assert_equal(many, one)
