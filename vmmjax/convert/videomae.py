"""VideoMAE as its authors publish it and as Hugging Face does: pretrained, with its decoder, or fine-tuned."""

import re
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from vmmjax.convert.format import Format, Network, Tensors, torch_name
from vmmjax.errors import UserError

# Parts of a block by our name.
_BLOCK = {'attention.query': 'attention.attention.query', 'attention.key': 'attention.attention.key',
          'attention.value': 'attention.attention.value', 'attention.output': 'attention.output.dense',
          'attention_norm': 'layernorm_before', 'intermediate': 'intermediate.dense', 'output': 'output.dense',
          'output_norm': 'layernorm_after'}
# What the authors call a part, and what Hugging Face does.
_AUTHORS = {r'patch_embed\.proj': 'embeddings.patch_embeddings.projection', r'blocks\.(\d+)\.': r'encoder.layer.\1.',
            r'norm1': 'layernorm_before', r'norm2': 'layernorm_after', r'attn\.proj': 'attention.output.dense',
            r'mlp\.fc1': 'intermediate.dense', r'mlp\.fc2': 'output.dense'}
_DECODER = r'^(decoder\.|encoder_to_decoder\.|mask_token$)'
_PATCH = 'embeddings.patch_embeddings.projection.weight'


def _published(path: str) -> str:
    module, leaf = torch_name(path, 'classifier').rsplit('.', 1)
    if module == 'patch_embeddings':
        module = 'embeddings.patch_embeddings.projection'
    block = re.match(r'(encoder\.layer\.\d+\.)(.*)', module)
    return f'{block[1]}{_BLOCK.get(block[2], block[2])}.{leaf}' if block else f'{module}.{leaf}'


def _canonical(name: str) -> str:
    """A name of either layout, of the encoder, as Hugging Face's without what stands before."""
    if re.match(_DECODER, name):
        return name
    name = re.sub(r'^(videomae\.|encoder\.(?!layer\.))', '', name)
    name = re.sub(r'^norm\.', 'layernorm.', re.sub(r'^head\.', 'classifier.', name))
    return re.sub(r'\.q_bias$', '.query.bias', re.sub(r'\.v_bias$', '.value.bias', _as_huggingface(name)))


def _as_huggingface(name: str) -> str:
    for theirs, ours in _AUTHORS.items():
        name = re.sub(rf'(?<![^.]){theirs}', ours, name)
    return re.sub(r'\.attn\.', '.attention.attention.', name)


def parted(tensors: Tensors) -> dict[str, np.ndarray]:
    """The tensors with queries, keys and values each by itself, which the authors keep as one, in this order."""
    found: dict[str, np.ndarray] = {}
    for name, tensor in tensors.items():
        if name.endswith('.attn.qkv.weight') and len(tensor) % 3 == 0:
            base = name.removesuffix('qkv.weight')
            found |= {f'{base}{part}.weight': rows for part, rows in
                      zip(('query', 'key', 'value'), np.split(tensor, 3), strict=True)}
        else:
            found[name] = tensor
    return found


def _recognise(tensors: Tensors) -> Network | None:
    canonical = {_canonical(name): name for name in tensors}
    first, qkv = 'encoder.layer.0.intermediate.dense.weight', 'encoder.layer.0.attention.attention.query.bias'
    # ViT and ViViT, whose names these are, too, have learned positions.
    if not {_PATCH, first, qkv} <= canonical.keys() or 'embeddings.position_embeddings' in canonical:
        return None
    shape = tensors[canonical[_PATCH]].shape
    if len(shape) != 5 or len(canonical) != len(tensors):
        return None
    intermediate, hidden = tensors[canonical[first]].shape
    head = canonical.get('classifier.weight')
    blocks = {found[1] for name in canonical if (found := re.match(r'encoder\.layer\.(\d+)\.', name))}
    options: dict[str, Any] = dict(
        num_classes=0 if head is None else len(tensors[head]), size=tuple(shape[2:]), hidden_size=hidden,
        num_hidden_layers=len(blocks), intermediate_size=intermediate, pooled='fc_norm.weight' in canonical)
    # Positions are fixed: any input of one patch at least has the variables.
    return Network('videomae', options, {'rgb': (1, *shape[2:], shape[1])})


FORMAT = Format('videomae', _recognise, _published, canonical=_canonical, parted=parted,
                ignored=rf'{_DECODER}|(^|\.)position_embeddings$')


def decoder(tensors: Tensors, stream: str = 'rgb') -> dict[str, Any]:
    """The parameters of `models.masked_transformer.MaskedDecoder` that a file of pretraining holds, of either layout.

    Args:
      tensors: of the file, by name.
      stream: that it predicts.

    Raises:
      UserError: for a file without a decoder, and a tensor that the decoder does not have.
    """
    found: dict[str, np.ndarray] = {}
    for name, tensor in parted(tensors).items():
        if not re.match(_DECODER, name):
            continue
        path = re.sub(r'^decoder\.(decoder_layers|blocks)\.(\d+)\.', r'encoder.layer.\2.', name)
        path = re.sub(r'\.q_bias$', '.query.bias', re.sub(r'\.v_bias$', '.value.bias', _as_huggingface(path)))
        for ours, theirs in _BLOCK.items():
            path = re.sub(rf'^encoder\.layer\.(\d+)\.{re.escape(theirs)}\.', rf'decoder.layer_\1.{ours}.', path)
        path = re.sub(r'^decoder\.norm\.', 'norm.', re.sub(r'^decoder\.head\.', f'head_{stream}.', path))
        path = re.sub(r'^encoder_to_decoder\.', f'embed_{stream}.', path).replace('mask_token', f'mask_token_{stream}')
        if path.endswith('.weight'):
            scale = tensor.ndim == 1
            path, tensor = path.removesuffix('weight') + ('scale' if scale else 'kernel'), tensor.T
        found[path.replace('.', '/')] = np.ascontiguousarray(tensor, np.float32)
    if not found:
        raise UserError('The file holds no decoder; it is of a network that was fine-tuned.')
    return unflatten_dict(found, sep='/')
