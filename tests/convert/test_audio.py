from pathlib import Path

import jax
import numpy as np
import pytest

from tests.convert.writers import (
    assert_near,
    golden,
    golden_tensors,
    write_tensorflow,
    write_tensorflow_v1,
    write_torch,
)
from tests.ops.sounds import golden_waveform
from vmmjax import load_pretrained
from vmmjax.convert.audio import FORMATS
from vmmjax.errors import UserError
from vmmjax.ops import log_mel

TORCH_VGGISH, TENSORFLOW_VGGISH, PANNS = FORMATS
SCOPES = {'features.0': 'conv1', 'features.3': 'conv2', 'features.6': 'conv3/conv3_1', 'features.8': 'conv3/conv3_2',
          'features.11': 'conv4/conv4_1', 'features.13': 'conv4/conv4_2', 'embeddings.0': 'fc1/fc1_1',
          'embeddings.2': 'fc1/fc1_2', 'embeddings.4': 'fc2'}
MEL = np.random.default_rng(0).normal(-1, 2, (2, 200, 64)).astype(np.float32)


def drawn(shapes):
    """Arrays under which values neither vanish nor grow, BatchNorms that are not the identity."""
    rng = np.random.default_rng(2)
    return {name: (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1
                   else rng.uniform(0.5, 1.5, shape)).astype(np.float32) for name, shape in shapes.items()}


def small_vggish():
    widths, hidden = (4, 4, 6, 6, 8, 8), 16
    rows = [*zip(widths, (1, *widths), (3,) * 6, strict=False), (hidden, 24 * widths[-1], 0), (hidden, hidden, 0),
            (12, hidden, 0)]
    shapes = {}
    for name, (out, fan_in, size) in zip(SCOPES, rows, strict=True):
        shapes |= {f'{name}.weight': (out, fan_in, size, size) if size else (out, fan_in), f'{name}.bias': (out,)}
    return {name: array - (array.ndim == 1) for name, array in drawn(shapes).items()}


def as_tensorflow(tensors):
    found = {}
    for name, array in tensors.items():
        module, leaf = name.rsplit('.', 1)
        axes = (2, 3, 1, 0) if array.ndim == 4 else None
        found[f'vggish/{SCOPES[module]}/{"weights" if leaf == "weight" else "biases"}'] = array.transpose(axes)
    return found


def small_panns(blocks, depth, size, classes, bands=64, embedding=10):
    """Names and shapes of a narrow Cnn6, Cnn10 or Cnn14."""
    shapes, fan_in = norm('bn0', bands), 1
    for block in range(1, blocks + 1):
        shapes |= conv_block(f'conv_block{block}', fan_in, 2 + block, depth, size)
        fan_in = 2 + block
    return drawn(shapes | {'fc1.weight': (embedding, fan_in), 'fc1.bias': (embedding,),
                           'fc_audioset.weight': (classes, embedding), 'fc_audioset.bias': (classes,)})


def norm(name, size):
    return {f'{name}.{leaf}': (size,) for leaf in ('weight', 'bias', 'running_mean', 'running_var')}


def conv_block(name, fan_in, width, depth=2, size=3):
    shapes = {}
    for i in range(1, depth + 1):
        shapes |= {f'{name}.conv{i}.weight': (width, fan_in if i == 1 else width, size, size)}
        shapes |= norm(f'{name}.bn{i}', width)
    return shapes


def run(loaded, mel):
    model, variables = loaded
    return jax.jit(lambda variables: model.apply(variables, {'audio': mel}, train=False))(variables)


@pytest.mark.slow
@pytest.mark.parametrize('case', ['panns_cnn10_32k', 'panns_cnn14_32k'])
def test_panns_gives_the_published_outputs(shared_golden: Path, tmp_path: Path, case: str) -> None:
    spec, want = golden(shared_golden, case)
    front_end = {'spectrogram_extractor.stft.conv_real.weight': np.zeros((513, 1, 1024), np.float32),
                 'spectrogram_extractor.stft.conv_imag.weight': np.zeros((513, 1, 1024), np.float32),
                 'logmel_extractor.melW': np.zeros((513, 64), np.float32)}
    write_torch(tmp_path / 'a.pth', {'model': front_end | golden_tensors(shared_golden, spec)})
    outputs = run(load_pretrained(tmp_path / 'a.pth'), log_mel(golden_waveform(shared_golden, case), 'panns_32k')[None])
    assert_near(outputs.endpoints['audio/embedding'], want['embedding'])
    assert_near(jax.nn.sigmoid(outputs.logits), want['probabilities'])
    (tmp_path / 'a.pth').unlink()


@pytest.mark.slow
def test_vggish_gives_the_published_outputs(shared_golden: Path, tmp_path: Path) -> None:
    spec, want = golden(shared_golden, 'vggish_2.5s')
    write_torch(tmp_path / 'a.pth', golden_tensors(shared_golden, spec))
    mel = log_mel(golden_waveform(shared_golden, 'vggish_2.5s'), 'vggish')[None]
    outputs = run(load_pretrained(tmp_path / 'a.pth'), mel)
    assert outputs.logits is None
    assert_near(outputs.endpoints['audio/embedding'][0], want['embedding'])
    assert_near(outputs.endpoints['audio/tokens'][0], want['embedding'])
    (tmp_path / 'a.pth').unlink()


@pytest.mark.parametrize('version', [1, 2])
def test_tensorflows_vggish_rectified_is_torchvggish(tmp_path: Path, version: int) -> None:
    pytest.importorskip('tensorflow')
    tensors = small_vggish()
    write_torch(tmp_path / 'a.pth', tensors)
    write = write_tensorflow_v1 if version == 1 else write_tensorflow
    write(tmp_path / 'model.ckpt', as_tensorflow(tensors) | {'global_step': np.int64(7)})
    torch_form = run(load_pretrained(tmp_path / 'a.pth'), MEL).endpoints['audio/tokens']
    plain = run(load_pretrained(tmp_path / 'model.ckpt'), MEL).endpoints['audio/tokens']
    assert torch_form.shape == (2, 2, 12)
    assert plain.min() < 0 < plain.max()
    assert_near(np.maximum(plain, 0), torch_form)


@pytest.mark.parametrize('name', ['pca_eigen_vectors', 'pca_matrix'])
def test_vggish_with_its_postprocessor_gives_bytes(tmp_path: Path, name: str) -> None:
    rng = np.random.default_rng(3)
    vectors, means = rng.normal(size=(12, 12)).astype(np.float32), rng.normal(size=(12, 1)).astype(np.float32)
    write_torch(tmp_path / 'a.pth', small_vggish() | {f'pproc.{name}': vectors, 'pproc.pca_means': means})
    outputs = run(load_pretrained(tmp_path / 'a.pth'), MEL)
    embedding = np.asarray(outputs.endpoints['audio/embedding']).reshape(-1, 12)
    whitened = (vectors @ (embedding.T - means)).T.reshape(2, 2, 12)
    np.testing.assert_allclose(outputs.endpoints['audio/tokens'], (np.clip(whitened, -2, 2) + 2) * 63.75, atol=0.501)
    with pytest.raises(UserError, match='pproc'):
        load_pretrained(tmp_path / 'a.pth', pca=False)
    raw = run(load_pretrained(tmp_path / 'a.pth', pca=False, allow_unused='^pproc'), MEL)
    np.testing.assert_array_equal(raw.endpoints['audio/tokens'], outputs.endpoints['audio/embedding'])


@pytest.mark.parametrize(('blocks', 'depth', 'size', 'name'), [
    (4, 1, 5, 'panns_cnn6'), (4, 2, 3, 'panns_cnn10'), (6, 2, 3, 'panns_cnn14')])
def test_every_cnn_is_recognised_whatever_its_widths(tmp_path: Path, blocks: int, depth: int, size: int,
                                                     name: str) -> None:
    tensors = small_panns(blocks, depth, size, 11, 40)
    network = PANNS.recognise(tensors)
    assert (network.name, network.options['num_classes'], network.inputs) == (name, 11, {'audio': (1, 32, 40)})
    write_torch(tmp_path / 'a.pth', {'model': tensors})
    mel = MEL[:, :70, :40]
    outputs = run(load_pretrained(tmp_path / 'a.pth'), mel)
    torch = pytest.importorskip('torch')
    logits, embedding = reference(torch, tensors, mel)
    assert_near(outputs.logits, logits)
    assert_near(outputs.features, embedding)


def reference(torch, tensors, mel):
    """PANNs' CNNs in PyTorch's own functions: logits and embedding."""
    functional, weights = torch.nn.functional, {name: torch.from_numpy(array) for name, array in tensors.items()}

    def normalised(x, name):
        mean, var, scale, bias = (weights[f'{name}.{leaf}']
                                  for leaf in ('running_mean', 'running_var', 'weight', 'bias'))
        return functional.batch_norm(x, mean, var, scale, bias)

    x = normalised(torch.from_numpy(mel)[:, None].transpose(1, 3), 'bn0').transpose(1, 3)
    for block in range(1, 7):
        for i in (1, 2):
            kernel = weights.get(f'conv_block{block}.conv{i}.weight')
            if kernel is not None:
                x = functional.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
                x = functional.relu(normalised(x, f'conv_block{block}.bn{i}'))
        if block <= 5 and f'conv_block{block}.conv1.weight' in weights:
            x = functional.avg_pool2d(x, 2)
    x = x.mean(3)
    x = functional.relu(functional.linear(x.amax(2) + x.mean(2), weights['fc1.weight'], weights['fc1.bias']))
    return functional.linear(x, weights['fc_audioset.weight'], weights['fc_audioset.bias']).numpy(), x.numpy()


def test_the_transform_in_the_file_tells_the_rate() -> None:
    tensors = small_panns(6, 2, 3, 4)
    for rows, name in ((257, 'panns_cnn14_16k'), (513, 'panns_cnn14')):
        stft = {'spectrogram_extractor.stft.conv_real.weight': np.zeros((rows, 1, 2), np.float32)}
        assert PANNS.recognise(tensors | stft).name == name


@pytest.mark.parametrize(('counts', 'last', 'name'), [
    ((2, 2, 2, 2), 2, 'panns_resnet22'), ((3, 4, 6, 3), 2, 'panns_resnet38'), ((3, 4, 6, 3), 3, 'panns_resnet54'),
    ((3, 4, 23, 3), 3, None)])
def test_residual_networks_are_told_by_their_blocks(counts: tuple[int, ...], last: int, name: str | None) -> None:
    tensors = small_panns(1, 2, 3, 50)
    for layer, count in enumerate(counts, 1):
        tensors |= {f'resnet.layer{layer}.{block}.conv{i}.weight': np.zeros((1, 1, 1, 1), np.float32)
                    for block in range(count) for i in range(1, last + 1)}
    network = PANNS.recognise(tensors)
    assert (network and network.name) == name


def test_names_of_a_residual_network_are_the_published_ones() -> None:
    for path, name in {
            'params/encoder/resnet/layer2_0/downsample_1/kernel': 'resnet.layer2.0.downsample.1.weight',
            'batch_stats/encoder/resnet/layer2_0/downsample_2/var': 'resnet.layer2.0.downsample.2.running_var',
            'params/encoder/conv_block_after1/bn2/scale': 'conv_block_after1.bn2.weight',
            'params/head/logits/kernel': 'fc_audioset.weight'}.items():
        assert PANNS.published(path) == name


def test_another_number_of_classes_says_so(tmp_path: Path) -> None:
    write_torch(tmp_path / 'a.pth', {'model': small_panns(4, 2, 3, 11)})
    with pytest.raises(UserError, match='11 classes and num_classes=5'):
        load_pretrained(tmp_path / 'a.pth', num_classes=5)
    outputs = run(load_pretrained(tmp_path / 'a.pth', num_classes=5, allow_missing='head/.*'), MEL)
    assert outputs.logits.shape == (2, 5)


def test_formats_are_not_mistaken_for_each_other() -> None:
    vggish, panns = small_vggish(), small_panns(4, 2, 3, 11)
    pictures = {name: array for name, array in vggish.items() if not name.startswith('embeddings')}
    for tensors, expected in ((vggish, TORCH_VGGISH), (as_tensorflow(vggish), TENSORFLOW_VGGISH), (panns, PANNS),
                              (pictures | {'classifier.0.weight': np.zeros((4, 4))}, None),
                              ({'bn0.weight': np.zeros(()), 'fc1.weight': np.zeros(3)}, None), ({}, None)):
        assert [each for each in FORMATS if each.recognise(tensors)] == ([expected] if expected else [])
