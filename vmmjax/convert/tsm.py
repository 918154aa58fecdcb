"""TSM and TSN as their authors released them, with the streaming network for gestures, and as mmaction2 has them.

A temporal shift, a non-local block and temporal pooling each wrap a module, so that names have one more part:
`layer1.0.conv1.net.weight` (shift in the residual branch), `layer1.0.net.conv1.weight` (shift of a block),
`layer2.0.block.conv1.weight` beside `layer2.0.nl.theta.weight`, `layer2.net.0.conv1.weight` (pooling). Without those
parts they are torchvision's. By how much channels are divided is not in a file: it is taken for 8.
"""

import functools
import re
from collections.abc import Callable
from typing import Any

from vmmjax.convert.format import Format, Network, Tensors, torch_name
from vmmjax.convert.torchvision import mobilenet_width, network, resnet_depth
from vmmjax.models.mobilenet import STAGES

_IGNORED = r'(^|\.)num_batches_tracked$|^data_preprocessor\.'
# Where torchvision has a module of one of these numbers in a block, by its number in the released MobileNetV2; the
# first block has no expansion.
_FLAT = {'0': '0.0', '1': '0.1', '3': '1.0', '4': '1.1', '6': '2', '7': '3'}
_FLAT_FIRST = {'0': '0.0', '1': '0.1', '3': '1', '4': '2'}
# mmaction2's layer -> the number of its first block in torchvision.
_FIRST = {layer: 1 + sum(count for _, _, count, _ in STAGES[:layer - 1]) for layer in range(1, len(STAGES) + 1)}


def _unwrapped(name: str) -> str:
    return re.sub(r'\.(net|block)(?=\.)', '', name)


def _official_resnet(name: str) -> str:
    return re.sub(r'^new_fc\.', 'fc.', re.sub(r'^base_model\.', '', _unwrapped(name)))


def _official_mobilenet(name: str) -> str:
    name = re.sub(r'^base_model\.', '', _unwrapped(name))
    name = re.sub(r'^(new_fc|classifier)\.(?=weight|bias)', 'classifier.1.', name)

    def nested(found: re.Match[str]) -> str:
        return found[1] + (_FLAT_FIRST if found[2] == '1' else _FLAT).get(found[3], found[3])

    return re.sub(r'^(features\.(\d+)\.conv\.)(\d)(?=\.[a-z])', nested, name)


def _mmaction2_resnet(name: str) -> str:
    name = re.sub(r'^cls_head\.fc_cls\.', 'fc.', re.sub(r'^backbone\.', '', _unwrapped(name)))
    name = name.replace('.non_local_block.conv_out.conv.', '.nl.W.0.').replace(
        '.non_local_block.conv_out.bn.', '.nl.W.1.')
    name = re.sub(r'\.non_local_block\.(.*)\.conv\.', r'.nl.\1.', name)
    name = name.replace('.downsample.conv.', '.downsample.0.').replace('.downsample.bn.', '.downsample.1.')
    return re.sub(r'conv(\d)\.conv\.', r'conv\1.', re.sub(r'conv(\d)\.bn\.', r'bn\1.', name))


def _mmaction2_mobilenet(name: str) -> str:
    name = re.sub(r'^cls_head\.fc_cls\.', 'classifier.1.', re.sub(r'^backbone\.', '', _unwrapped(name)))

    def block(found: re.Match[str]) -> str:
        layer, number, unit, norm = int(found[1]), int(found[2]), int(found[3]), found[4] == 'bn'
        last = unit == (1 if layer == 1 else 2)
        return f'features.{_FIRST[layer] + number}.conv.' + (f'{unit + norm}.' if last else f'{unit}.{norm:d}.')

    name = re.sub(r'^layer([1-7])\.(\d+)\.conv\.(\d)\.(conv|bn)\.', block, name)
    for theirs, ours in (('conv1', 'features.0'), ('conv2', 'features.18')):
        name = name.replace(f'{theirs}.conv.', f'{ours}.0.').replace(f'{theirs}.bn.', f'{ours}.1.')
    return name


def _resnet(tensors: Tensors, canonical: Callable[[str], str], mark: str) -> Network | None:
    names = '\n'.join(tensors)
    shapes = {canonical(name): tuple(tensor.shape) for name, tensor in tensors.items()}
    depth = resnet_depth(shapes)
    if depth is None or not re.search(mark, names, re.MULTILINE):
        return None
    options: dict[str, Any] = {}
    whole, inside = re.search(r'\blayer1\.0\.net\.', names), re.search(r'\.conv1(\.conv)?\.net\.', names)
    if whole:
        options['shift_place'] = 'block'
    if re.search(r'\blayer2\.net\.', names):
        options['temporal_pool'] = True
    if any('.nl.' in name for name in shapes):
        options['non_local'] = True
        if not any(name.endswith('.nl.theta.weight') for name in shapes):
            options['non_local_mode'] = 'gaussian'
        if not any(name.endswith('.nl.W.0.bias') for name in shapes):
            options['non_local_bias'] = False
    return network(f'{"tsm" if whole or inside else "tsn"}_resnet{depth}', shapes, 'conv1', 'fc', **options)


def _mobilenet(tensors: Tensors, canonical: Callable[[str], str], mark: str) -> Network | None:
    names = '\n'.join(tensors)
    shapes = {canonical(name): tuple(tensor.shape) for name, tensor in tensors.items()}
    width = mobilenet_width(shapes)
    if width is None or not re.search(mark, names, re.MULTILINE):
        return None
    options: dict[str, Any] = {} if width == 1 else dict(width_multiplier=width)
    name = 'tsm_mobilenet_v2' if '.net.' in names else 'tsn_mobilenet_v2'
    if re.search(r'^features\.', names, re.MULTILINE) and '.net.' not in names:
        # Bare names are the streaming network's, which shifts without saying so, or the ImageNet network's it is
        # made from.
        if 'classifier.1.weight' not in shapes or shapes['classifier.1.weight'][0] == 1000:
            name = 'mobilenet_v2'
        else:
            name, options['shift'] = 'tsm_mobilenet_v2', 'uni'
    return network(name, shapes, 'features.0.0', 'classifier.1', **options)


def _format(name: str, recognise: Callable[..., Network | None], canonical: Callable[[str], str], mark: str,
            head: str) -> Format:
    """A format that is told by a name among the file's, `mark`, and by what is there under torchvision's names."""
    return Format(name, functools.partial(recognise, canonical=canonical, mark=mark),
                  functools.partial(torch_name, head=head), canonical=canonical, ignored=_IGNORED)


FORMATS = (
    _format('tsm-resnet', _resnet, _official_resnet, r'^base_model\.|^new_fc\.|\.net\.|\.nl\.', 'fc'),
    _format('tsm-mobilenet', _mobilenet, _official_mobilenet, r'^(base_model\.)?features\.2\.conv\.6\.weight$',
            'classifier.1'),
    _format('mmaction2-resnet', _resnet, _mmaction2_resnet, r'^backbone\.conv1\.conv\.', 'fc'),
    _format('mmaction2-mobilenet', _mobilenet, _mmaction2_mobilenet, r'^backbone\.conv1\.conv\.', 'classifier.1'))
