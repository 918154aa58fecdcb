from pathlib import Path
from typing import Any

import cv2
import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict
from sklearn.datasets import load_sample_image

from tests.convert.writers import assert_near, golden, golden_input, golden_tensors, write_torch
from tests.models.frames import FAST
from vmmjax import load_pretrained
from vmmjax.convert import export, files, torchvision
from vmmjax.convert.format import Format
from vmmjax.convert.load import find, load
from vmmjax.errors import UserError
from vmmjax.models import create_model


def logits(model: Any, variables: Any, x: np.ndarray) -> np.ndarray:
    (stream, _), = model.encoders.items()
    return jax.jit(lambda v, x: model.apply(v, {stream: x}, train=False).logits, compiler_options=FAST)(variables, x)


@pytest.mark.parametrize('name', ['resnet18_224', 'resnet50_224', 'mobilenet_v2_224',
                                  pytest.param('vgg16_224', marks=pytest.mark.slow)])
def test_outputs_are_the_published_networks_and_the_way_back_is_an_identity(shared_golden: Path, tmp_path: Path,
                                                                           name: str) -> None:
    case, expected = golden(shared_golden, name)
    tensors = golden_tensors(shared_golden, case)
    write_torch(tmp_path / 'net.pth', tensors)
    model, variables = load_pretrained(tmp_path / 'net.pth')
    assert_near(logits(model, variables, golden_input(shared_golden, case)[:, None]), expected['logits'])
    back = export(variables, 'torchvision')
    assert {*back} == {*tensors}
    for key, tensor in tensors.items():
        assert np.array_equal(back[key], tensor), key


def drawn(name: str, channels: int, **options: Any) -> tuple[Any, Any]:
    """A model whose every variable has values of its own."""
    model = create_model(name, **options)
    (stream, _), = model.encoders.items()
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), {stream: np.zeros((1, 1, 32, 32, channels))},
                                               train=False))
    random = np.random.default_rng(0)
    return model, jax.tree.map(lambda leaf: random.uniform(0.5, 1.5, leaf.shape).astype(np.float32), shapes)


@pytest.mark.parametrize(('name', 'channels', 'options'), [
    ('resnet18', 3, dict(num_classes=7)),
    ('resnet34', 1, dict(num_classes=3)),
    ('resnet101', 3, dict(num_classes=0)),
    ('resnet18', 10, dict(num_classes=4, stream='flow')),
    ('mobilenet_v2', 4, dict(num_classes=5)),
    ('mobilenet_v2', 3, dict(num_classes=5, width_multiplier=0.35)),
    ('mobilenet_v2', 3, dict(num_classes=5, width_multiplier=1.4))])
def test_depth_width_classes_and_channels_are_read_from_the_shapes(tmp_path: Path, name: str, channels: int,
                                                                  options: dict[str, Any]) -> None:
    model, variables = drawn(name, channels, **options)
    write_torch(tmp_path / 'net.pth', {f'module.{key}': value
                                       for key, value in export(variables, 'torchvision').items()})
    loaded, found = load_pretrained(tmp_path / 'net.pth')
    assert loaded == model
    jax.tree.map(np.testing.assert_array_equal, found, variables)


def of_sizes(name: str, format: Format) -> dict[str, np.ndarray]:
    """Tensors of a network of six classes as a format has them: sizes alone, output channels first."""
    model = create_model(name, num_classes=6)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), {'rgb': np.zeros((1, 1, 32, 32, 3))}, train=False))
    return {format.published(path.replace('encoders_rgb', 'encoder')):
            # Half a gigabyte for VGG16 otherwise.
            np.broadcast_to(np.float32(0), (*leaf.shape[:-3:-1], *leaf.shape[:-2]))
            for path, leaf in flatten_dict(shapes, sep='/').items()}


def test_efficientnet_is_recognised_and_those_with_other_blocks_are_not() -> None:
    format = torchvision.FORMATS[3]
    tensors = of_sizes('efficientnet_lite0', format)
    network = format.recognise(tensors)
    assert network is not None
    assert (network.name, network.options['num_classes']) == ('efficientnet_lite0', 6)
    for other in ({'_blocks.0._se_reduce.weight': np.zeros((8, 32, 1, 1), np.float32)},  # EfficientNet-B0.
                  {'_blocks.3._depthwise_conv.weight': np.zeros((144, 1, 3, 3), np.float32)}):
        assert format.recognise(tensors | other) is None


@pytest.mark.parametrize('name', ['vgg16', 'vgg16_bn'])
def test_vgg_with_batch_norm_is_told_from_the_one_without(name: str) -> None:
    format = torchvision.FORMATS[2]
    tensors = of_sizes(name, format)
    network = format.recognise(tensors)
    assert network is not None
    assert (network.name, network.options['num_classes']) == (name, 6)
    assert [each.name for each in torchvision.FORMATS if each.recognise(tensors)] == [format.name]


def test_networks_that_only_look_alike_are_refused(tmp_path: Path) -> None:
    _, variables = drawn('resnet18', 3, num_classes=2)
    tensors = export(variables, 'torchvision')
    grouped = tensors | {'layer1.0.conv2.weight': np.zeros((64, 2, 3, 3), np.float32)}
    shallow = {key: value for key, value in tensors.items() if not key.startswith('layer4.1.')}
    for other in (grouped, shallow):
        write_torch(tmp_path / 'net.pth', other)
        with pytest.raises(UserError, match='no known network'):
            load_pretrained(tmp_path / 'net.pth')


def test_a_network_with_other_layers_is_not_exported() -> None:
    _, variables = drawn('tsm_resnet18', 3, num_classes=2, non_local=True)
    with pytest.raises(UserError, match='has no network'):
        export(variables, 'torchvision')


def test_efficientnet_of_imagenet_knows_a_photo_and_gives_the_published_logits() -> None:
    picture = cv2.resize(load_sample_image('flower.jpg'), (384, 256), interpolation=cv2.INTER_LINEAR)[16:240, 80:304]
    model, variables = load_pretrained('efficientnet_lite0_imagenet')
    x = (picture.astype(np.float32) - 127) / 128
    found = np.asarray(logits(model, variables, x[None, None]))[0]
    assert found.argmax() == 985  # daisy
    # By the package efficientnet_lite_pytorch 0.1.0 in PyTorch 2.14.
    assert_near(found[[985, 108, 947, 0]], np.array([7.454381, 5.683618, 5.670090, -1.627793], np.float32))
    tensors = export(variables, 'efficientnet_pytorch')
    assert len(tensors) == 296
    assert tensors['_blocks.15._bn2.running_var'].shape == (320,)


def test_shifted_efficientnet_begins_with_the_weights_of_imagenet() -> None:
    loaded = load('efficientnet_lite0_imagenet', name='tsm_efficientnet_lite0', num_classes=4, allow_missing='head/.*')
    assert loaded.model.encoders['rgb'].shift == 'bi'
    assert sum(entry.path.startswith('params/encoder') for entry in loaded.report.entries) == 147


def test_vgg_of_imagenet_is_the_convolutions_of_the_file() -> None:
    model, variables = load_pretrained('vgg16_imagenet')
    tensors = files.parts(find('vgg16_imagenet'))['']
    x = np.random.default_rng(0).normal(size=(1, 40, 36, 3)).astype(np.float32)
    tokens = jax.jit(lambda v, x: model.apply(v, {'rgb': x}, train=False).endpoints['rgb/tokens'],
                     compiler_options=FAST)(variables, x[None])
    index = 0
    for count in (2, 2, 3, 3, 3):
        for _ in range(count):
            layer = f'VGG16_0/Conv_{index}/'
            x = jax.lax.conv_general_dilated(x, tensors[layer + 'kernel'], (1, 1), 'SAME',
                                             dimension_numbers=('NHWC', 'HWIO', 'NHWC'))
            x = jax.nn.relu(x + tensors[layer + 'bias'])
            index += 1
        x = nn.max_pool(x, (2, 2), (2, 2))
    assert_near(tokens[0, 0], np.asarray(x).mean((1, 2))[0])
