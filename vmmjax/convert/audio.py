"""Published files of audio networks: VGGish, from TensorFlow and from PyTorch, and PANNs."""

import functools
import re
from typing import Any

from vmmjax.convert.format import Format, Network, Tensors, torch_name
from vmmjax.models.panns_resnet import RESNETS
from vmmjax.models.vggish import BANDS, CONVOLUTIONS, DENSE, PATCH, VGGish

# Our module of VGGish, which is torchvggish's, -> the scope in the TensorFlow release.
_SCOPES = {f'features_{number}': name for name, number, _ in CONVOLUTIONS}
_SCOPES |= {f'embeddings_{number}': name for name, number in DENSE}
_SCOPES = {module: 'fc2' if name == 'embedding' else re.sub(r'^(.*)_', r'\1/\1_', name)
           for module, name in _SCOPES.items()}


def _vggish(tensors: Tensors, kernels: list[str], out: int, **options: Any) -> Network | None:
    """VGGish with the widths of these kernels, whose axis `out` is the output's."""
    if kernels[0] not in tensors or tensors[kernels[0]].ndim != 4 or kernels[-1] not in tensors:
        return None
    published = (*VGGish.widths, VGGish.hidden, VGGish.hidden, VGGish.features)
    *widths, hidden, _, features = (tensors[name].shape[out] if name in tensors and tensors[name].ndim else width
                                    for name, width in zip(kernels, published, strict=True))
    options |= dict(widths=tuple(widths), hidden=hidden, features=features)
    return Network('vggish', options, {'audio': (1, PATCH, BANDS)})


def _torchvggish(tensors: Tensors) -> Network | None:
    kernels = [f'{module.replace("_", ".")}.weight' for module in _SCOPES]
    return _vggish(tensors, kernels, 0, last_relu=True, pca=any(name.startswith('pproc.') for name in tensors))


def _tensorflow_vggish(tensors: Tensors) -> Network | None:
    return _vggish(tensors, [f'vggish/{scope}/weights' for scope in _SCOPES.values()], -1)


def _tensorflow_name(path: str) -> str:
    _, _, module, leaf = path.split('/')
    return f'vggish/{_SCOPES.get(module, module)}/{"weights" if leaf == "kernel" else "biases"}'


def _panns(tensors: Tensors) -> Network | None:
    def shape(name: str, axes: int) -> tuple[int, ...] | None:
        return tensors[name].shape if name in tensors and tensors[name].ndim == axes else None

    bands, last, first = shape('bn0.weight', 1), shape('fc1.weight', 2), shape('conv_block1.conv1.weight', 4)
    if bands is None or last is None or first is None:
        return None
    head = shape('fc_audioset.weight', 2)
    options: dict[str, Any] = dict(num_classes=head[0] if head else 0, features=last[0])
    inputs = {'audio': (1, 32, *bands)}
    if any(name.startswith('resnet.') for name in tensors):
        counts = tuple(len({name.split('.')[2] for name in tensors if name.startswith(f'resnet.layer{layer}.')})
                       for layer in range(1, 5))
        form = counts, 'resnet.layer1.0.conv3.weight' in tensors
        return next((Network(f'panns_resnet{depth}', options, inputs) for depth, known in RESNETS.items()
                     if known == form), None)
    kernels: list[tuple[int, ...]] = []
    while (kernel := shape(f'conv_block{len(kernels) + 1}.conv1.weight', 4)) is not None:
        kernels.append(kernel)
    options |= dict(widths=tuple(kernel[0] for kernel in kernels), size=first[-1],
                    depth=2 if 'conv_block1.conv2.weight' in tensors else 1)
    name = 'panns_cnn6' if options['depth'] == 1 else 'panns_cnn10' if len(kernels) < 6 else 'panns_cnn14'
    # The released files carry their front end, whose transform tells the rate.
    if name == 'panns_cnn14' and (shape('spectrogram_extractor.stft.conv_real.weight', 3) or (0,))[0] == 257:
        name = 'panns_cnn14_16k'
    return Network(name, options, inputs)


FORMATS: tuple[Format, ...] = (
    Format('torchvggish', _torchvggish, functools.partial(torch_name, head='classifier'),
           canonical=lambda name: name.replace('pproc.pca_matrix', 'pproc.pca_eigen_vectors')),
    Format('tensorflow-vggish', _tensorflow_vggish, _tensorflow_name, layout='tensorflow',
           ignored=r'(^|/)(global_step|beta[12]_power|Adam(_1)?)$'),
    Format('panns', _panns, functools.partial(torch_name, head='fc_audioset'),
           ignored=r'\.num_batches_tracked$|^(spectrogram|logmel)_extractor\.'),
)
