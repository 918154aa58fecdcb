"""The variables of a thin I3D, and the names that published files have for them."""

import functools

import jax
import numpy as np
from flax.traverse_util import flatten_dict

from vmmjax import create_model
from vmmjax.convert.i3d import published

WIDTH = 1 / 16


@functools.cache
def variables(channels=3, classes=5, **options):
    """Random variables of a thin I3D by path, and its model."""
    model = create_model('i3d', num_classes=classes, width_multiplier=WIDTH, **options)
    shapes = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0),
                            {'rgb': np.zeros((1, 16, 32, 32, channels), np.float32)})
    generator = np.random.default_rng(0)
    return {path: generator.uniform(.5, 1.5, leaf.shape).astype(np.float32)
            for path, leaf in flatten_dict(shapes, sep='/').items()}


@functools.cache
def official(**options):
    """The same as the official checkpoint names them, without the prefix."""
    tensors = {}
    for path, value in variables(**options).items():
        name = published(path.replace('/encoders_rgb/', '/encoder/'))
        tensors[name] = value[None, None, None] if name.endswith('Logits/Conv3d_0c_1x1/conv_3d/w') else value
    return tensors


UNITS = {'b0': 'Branch_0/Conv3d_0a_1x1', 'b1a': 'Branch_1/Conv3d_0a_1x1', 'b1b': 'Branch_1/Conv3d_0b_3x3',
         'b2a': 'Branch_2/Conv3d_0a_1x1', 'b2b': 'Branch_2/Conv3d_0b_3x3', 'b3b': 'Branch_3/Conv3d_0b_1x1'}
LEAVES = {'conv_3d/w': 'conv3d.weight', 'conv_3d/b': 'conv3d.bias', 'batch_norm/beta': 'bn.bias',
          'batch_norm/moving_mean': 'bn.running_mean', 'batch_norm/moving_variance': 'bn.running_var'}


def as_pytorch_i3d(tensors):
    found = {}
    for name, value in tensors.items():
        module, part, leaf = name.rsplit('/', 2)
        module = module.replace('Mixed_5b/Branch_2/Conv3d_0a_3x3', 'Mixed_5b/Branch_2/Conv3d_0b_3x3')
        for short, unit in UNITS.items():
            module = module.replace(f'/{unit}', f'.{short}')
        module = 'logits' if module == 'Logits/Conv3d_0c_1x1' else module
        found[f'{module}.{LEAVES[f"{part}/{leaf}"]}'] = value.transpose(4, 3, 0, 1, 2) if value.ndim == 5 else value
        if leaf == 'beta':
            found[f'{module}.bn.weight'] = np.ones_like(value)
            found[f'{module}.bn.num_batches_tracked'] = np.array(9)
    return found


def flat(tree):
    return flatten_dict(tree, sep='/')


def assert_same(found, expected):
    found = flat(found)
    assert set(found) == set(expected)
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value, path)
