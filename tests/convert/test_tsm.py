import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.convert.test_torchvision import drawn, logits
from tests.convert.writers import assert_near, golden, golden_input, golden_tensors, write_torch
from vmmjax import load_pretrained
from vmmjax.convert import formats
from vmmjax.convert.format import torch_name
from vmmjax.errors import UserError
from vmmjax.models.mobilenet import STAGES


@pytest.mark.parametrize('name', ['tsm_resnet50_8x224', 'tsm_mobilenetv2_8x224', 'tsm_resnet50_nonlocal_8x224',
                                  'tsn_resnet50_8x224'])
def test_outputs_are_the_published_networks(shared_golden: Path, tmp_path: Path, name: str) -> None:
    case, expected = golden(shared_golden, name)
    write_torch(tmp_path / 'net.pth', {'epoch': 50, 'state_dict': golden_tensors(shared_golden, case)})
    model, variables = load_pretrained(tmp_path / 'net.pth')
    assert_near(logits(model, variables, golden_input(shared_golden, case)), expected['logits'])


def tensors(variables: Any, head: str, renamed: Callable[[str], str]) -> dict[str, np.ndarray]:
    """What PyTorch would save: torchvision's names, renamed."""
    result = {}
    for path, value in flatten_dict(variables, sep='/').items():
        name = renamed(torch_name(re.sub('encoders_[a-z]+', 'encoder', path), head))
        result[name] = np.moveaxis(value, (-1, -2), (0, 1)) if path.endswith('kernel') else value
    return result


def official(name: str, place: str = 'blockres', pool: bool = False, non_local: bool = False) -> str:
    if name.startswith('fc.'):
        return f'module.new_{name}'
    if place == 'blockres':
        name = re.sub(r'^(layer\d\.\d+\.conv1)\.', r'\1.net.', name)
    if place == 'block':
        name = re.sub(r'^(layer\d\.\d+)\.', r'\1.net.', name)
    if non_local and '.nl.' not in name:
        name = re.sub(r'^(layer[23]\.0)\.', r'\1.block.', name)
    if pool:
        name = re.sub(r'^layer2\.', 'layer2.net.', name)
    return f'module.base_model.{name}'


def mmaction2(name: str, place: str = 'blockres', non_local: bool = False) -> str:
    if name.startswith('fc.'):
        return f'cls_head.fc_cls.{name[3:]}'
    if non_local:
        name = re.sub(r'\.nl\.(theta|phi\.0|g\.0)\.', r'.non_local_block.\1.conv.', name)
        name = name.replace('.nl.W.0.', '.non_local_block.conv_out.conv.').replace('.nl.W.1.',
                                                                                   '.non_local_block.conv_out.bn.')
        name = name if 'non_local' in name else re.sub(r'^(layer[23]\.0)\.', r'\1.block.', name)
    name = re.sub(r'(^|\.)conv(\d)\.', r'\1conv\2.conv.', name)
    name = re.sub(r'(^|\.)bn(\d)\.', r'\1conv\2.bn.', name)
    name = name.replace('downsample.0.', 'downsample.conv.').replace('downsample.1.', 'downsample.bn.')
    if place == 'blockres':
        name = re.sub(r'^(layer\d\.\d+\.(block\.)?conv1\.conv)\.', r'\1.net.', name)
    return f'backbone.{name}'


def flat(name: str) -> str:
    """The official MobileNetV2's numbers of a block's modules."""
    found = re.match(r'features\.(\d+)\.conv\.(\d(?:\.\d)?)\.(.*)', name)
    if not found:
        return name
    order = ['0.0', '0.1', '', '1', '2'] if found[1] == '1' else ['0.0', '0.1', '', '1.0', '1.1', '', '2', '3']
    return f'features.{found[1]}.conv.{order.index(found[2])}.{found[3]}'


def official_mobilenet(name: str) -> str:
    name = re.sub(r'^features\.(3|5|6|8|9|10|12|13|15|16)\.conv\.0\.w', r'features.\1.conv.0.net.w', flat(name))
    return 'module.' + (f'new_fc.{name[13:]}' if name.startswith('classifier') else f'base_model.{name}')


def online(name: str) -> str:
    return flat(name).replace('classifier.1.', 'classifier.')


def mmaction2_mobilenet(name: str) -> str:
    if name.startswith('classifier'):
        return f'cls_head.fc_cls.{name[13:]}'
    for ours, theirs in (('features.0.', 'conv1.'), ('features.18.', 'conv2.')):
        if name.startswith(ours):
            return f'backbone.{theirs}' + {'0': 'conv', '1': 'bn'}[name[len(ours)]] + name[len(ours) + 1:]
    _, number, _, rest = name.split('.', 3)
    blocks = [(layer, i) for layer, (_, _, count, _) in enumerate(STAGES, 1) for i in range(count)]
    layer, i = blocks[int(number) - 1]
    units = ['0.0', '0.1', '1', '2'] if layer == 1 else ['0.0', '0.1', '1.0', '1.1', '2', '3']
    part, leaf = rest.rsplit('.', 1)
    unit = units.index(part)
    name = f'layer{layer}.{i}.conv.{unit // 2}.{"bn" if unit % 2 else "conv"}.{leaf}'
    return 'backbone.' + (name.replace('.conv.0.', '.conv.0.net.') if layer > 1 and i else name)


PLAIN = functools.partial(official, place='')


@pytest.mark.parametrize(('name', 'options', 'renamed'), [
    ('tsm_resnet18', {}, official),
    ('tsm_resnet34', dict(shift_place='block'), functools.partial(official, place='block')),
    ('tsm_resnet18', dict(temporal_pool=True), functools.partial(official, pool=True)),
    ('tsm_resnet18', dict(shift_place='block', temporal_pool=True),
     functools.partial(official, place='block', pool=True)),
    ('tsm_resnet18', dict(non_local=True), functools.partial(official, non_local=True)),
    ('tsn_resnet18', {}, PLAIN),
    ('tsn_resnet18', dict(stream='flow'), PLAIN),
    ('tsm_resnet18', {}, mmaction2),
    ('tsn_resnet18', {}, functools.partial(mmaction2, place='')),
    ('tsm_resnet18', dict(non_local=True, non_local_bias=False), functools.partial(mmaction2, non_local=True)),
    ('tsm_resnet18', dict(non_local=True, non_local_bias=False, non_local_mode='gaussian'),
     functools.partial(mmaction2, non_local=True)),
    ('tsm_mobilenet_v2', {}, official_mobilenet),
    ('tsn_mobilenet_v2', {}, lambda name: official_mobilenet(name).replace('.net.', '.')),
    ('tsm_mobilenet_v2', dict(shift='uni'), online),
    ('tsm_mobilenet_v2', {}, mmaction2_mobilenet),
    ('tsn_mobilenet_v2', dict(width_multiplier=0.5), lambda name: mmaction2_mobilenet(name).replace('.net.', '.'))])
def test_what_wraps_what_is_read_from_the_names(tmp_path: Path, name: str, options: dict[str, Any],
                                                renamed: Callable[[str], str]) -> None:
    model, variables = drawn(name, 10 if 'stream' in options else 3, num_classes=6, **options)
    file = tensors(variables, 'fc' if 'resnet' in name else 'classifier.1', renamed)
    write_torch(tmp_path / 'net.pth', {'state_dict': file})
    loaded, found = load_pretrained(tmp_path / 'net.pth')
    assert loaded == model
    jax.tree.map(np.testing.assert_array_equal, found, variables)
    file = {key.removeprefix('module.'): value for key, value in file.items()}
    assert sum(each.recognise(file) is not None for each in formats.FORMATS) == 1


def test_every_second_block_of_a_deep_network_is_shifted(tmp_path: Path) -> None:
    model, variables = drawn('tsm_resnet101', 3, num_classes=6)
    file = tensors(variables, 'fc', lambda name: re.sub(r'(\.\d*[13579]\.conv1)\.net\.', r'\1.', official(name)))
    write_torch(tmp_path / 'net.pth', {'state_dict': file})
    assert sum('.net.' in name for name in file) == 18
    assert load_pretrained(tmp_path / 'net.pth')[0] == model


def test_a_bare_flat_file_of_a_thousand_classes_is_the_imagenet_network(tmp_path: Path) -> None:
    model, variables = drawn('mobilenet_v2', 3, num_classes=1000)
    write_torch(tmp_path / 'net.pth', tensors(variables, 'classifier.1', online))
    assert load_pretrained(tmp_path / 'net.pth')[0] == model


def test_what_a_file_does_not_tell_can_be_given(tmp_path: Path) -> None:
    _, variables = drawn('tsm_resnet18', 3, num_classes=6)
    write_torch(tmp_path / 'net.pth', tensors(variables, 'fc', official))
    model, _ = load_pretrained(tmp_path / 'net.pth', shift_div=4, shift='uni')
    encoder = model.encoders['rgb']
    assert (encoder.shift_div, encoder.shift) == (4, 'uni')
    with pytest.raises(UserError, match='shift_div'):
        load_pretrained(tmp_path / 'net.pth', shift_div=0)


def test_picture_weights_begin_a_shifted_network(tmp_path: Path) -> None:
    _, variables = drawn('resnet18', 3, num_classes=6)
    write_torch(tmp_path / 'net.pth', tensors(variables, 'fc', str))
    model, found = load_pretrained(tmp_path / 'net.pth', name='tsm_resnet18', stream='flow', channels=10)
    assert model.encoders['flow'].shift == 'bi'
    stem = found['params']['encoders_flow']['conv1']['kernel']
    expected = variables['params']['encoders_rgb']['conv1']['kernel'].mean(2, keepdims=True)
    np.testing.assert_allclose(stem, np.broadcast_to(expected, (7, 7, 10, 64)), rtol=1e-6)
