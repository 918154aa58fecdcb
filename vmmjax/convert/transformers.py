"""Transformers as Hugging Face publishes them: BERT and its family, ViT, ViViT and AST."""

import math
import re
from collections.abc import Callable

from vmmjax.convert.format import Format, Network, Tensors, torch_name

Shapes = dict[str, tuple[int, ...]]

# Numbers in an input; what a few numbers in a hostile file multiply to would fill the memory.
_LARGEST = 2 ** 28

# Parts of a block, and what stands around the blocks, by our name.
_BERT = {'attention.query': 'attention.self.query', 'attention.key': 'attention.self.key',
         'attention.value': 'attention.self.value', 'attention.output': 'attention.output.dense',
         'attention_norm': 'attention.output.LayerNorm', 'intermediate': 'intermediate.dense',
         'output': 'output.dense', 'output_norm': 'output.LayerNorm', 'pooler': 'pooler.dense'}
_VIT = {'attention.query': 'attention.attention.query', 'attention.key': 'attention.attention.key',
        'attention.value': 'attention.attention.value', 'attention.output': 'attention.output.dense',
        'attention_norm': 'layernorm_before', 'intermediate': 'intermediate.dense',
        'output': 'output.dense', 'output_norm': 'layernorm_after',
        'patch_embeddings': 'embeddings.patch_embeddings.projection', 'classifier_layernorm': 'classifier.layernorm'}
# What `state_dict()` of transformers 5 calls the parts of ViT that files call otherwise; what follows an audio
# network's last normalisation is a head like any other.
_RENAMED = {'attention.q_proj': 'attention.attention.query', 'attention.k_proj': 'attention.attention.key',
            'attention.v_proj': 'attention.attention.value', 'attention.o_proj': 'attention.output.dense',
            'mlp.fc1': 'intermediate.dense', 'mlp.fc2': 'output.dense', 'classifier.dense': 'classifier'}


def _published(path: str, head: str, names: dict[str, str]) -> str:
    module, leaf = torch_name(path, head).rsplit('.', 1)
    block = re.match(r'encoder\.layer\.\d+\.', module)
    start, part = (block[0], module[block.end():]) if block else ('', module)
    return f'{start}{names.get(part, part)}.{leaf}'


def _bert_name(name: str) -> str:
    name = re.sub(r'^.*?\.(?=(embeddings|encoder\.layer|pooler)\.)', '', name)
    return re.sub(r'LayerNorm\.gamma$', 'LayerNorm.weight', re.sub(r'LayerNorm\.beta$', 'LayerNorm.bias', name))


def _vit_name(name: str) -> str:
    name = re.sub(r'(^|\.)layers\.(?=\d+\.)', r'\1encoder.layer.', name)
    for theirs, ours in _RENAMED.items():
        name = re.sub(rf'(^|\.){re.escape(theirs)}\.', rf'\1{ours}.', name)
    return re.sub(r'^(?!classifier\.).*?\.(?=(embeddings|encoder\.layer|layernorm|pooler)\.)', '', name)


def _shapes(tensors: Tensors, canonical: Callable[[str], str], *needed: str) -> Shapes | None:
    """Shapes by canonical name; None where names coincide (there are several networks) or needed ones are missing."""
    shapes = {canonical(name): tuple(tensor.shape) for name, tensor in tensors.items()}
    return shapes if len(shapes) == len(tensors) and all(name in shapes for name in needed) else None


def _blocks(shapes: Shapes) -> dict[str, int]:
    numbers = {found[1] for name in shapes if (found := re.match(r'encoder\.layer\.(\d+)\.', name))}
    intermediate, hidden = shapes['encoder.layer.0.intermediate.dense.weight']
    return dict(hidden_size=hidden, num_hidden_layers=len(numbers), intermediate_size=intermediate)


def _bert(tensors: Tensors) -> Network | None:
    words, positions, types = (f'embeddings.{name}_embeddings.weight' for name in ('word', 'position', 'token_type'))
    shapes = _shapes(tensors, _bert_name, words, positions, types, 'embeddings.LayerNorm.weight',
                     'encoder.layer.0.attention.self.query.weight', 'encoder.layer.0.intermediate.dense.weight')
    # RoBERTa has the same names, and counts positions from 2: 514 of them, and one type.
    if shapes is None or (shapes[types][0] == 1 and shapes[positions][0] % 8 == 2):
        return None
    return Network('bert', dict(
        num_classes=0, vocab_size=shapes[words][0], max_position_embeddings=shapes[positions][0],
        type_vocab_size=shapes[types][0], pooler='pooler.dense.weight' in shapes, **_blocks(shapes)), {'text': (1, 1)})


def _vit(tensors: Tensors) -> Network | None:
    patch, positions = 'embeddings.patch_embeddings.projection.weight', 'embeddings.position_embeddings'
    shapes = _shapes(tensors, _vit_name, patch, positions, 'embeddings.cls_token',
                     'encoder.layer.0.layernorm_before.weight', 'encoder.layer.0.attention.attention.query.weight',
                     'encoder.layer.0.intermediate.dense.weight')
    if shapes is None:
        return None
    (_, channels, *size), count = shapes[patch], shapes[positions][1] - 1
    options = dict(num_classes=shapes['classifier.weight'][0] if 'classifier.weight' in shapes else 0,
                   **_blocks(shapes))
    if 'embeddings.distillation_token' in shapes:
        return _ast(options, size[0], count - 1) if channels == 1 else None
    # A ViT's frames are as many as the published ViViT's, for which its weights may be taken.
    name, tubelet, frames = ('vivit_joint', tuple(size), size[0]) if len(size) == 3 else ('vit', (1, *size), 32)
    # Parameters know the number of patches, not how they lie: a strip has as many.
    shape = 1, frames, tubelet[1], tubelet[2] * count, channels
    if math.prod(shape) > _LARGEST:
        return None
    return Network(name, dict(tubelet=tubelet, **options), {'rgb': shape})


def _ast(options: dict[str, int], patch: int, count: int) -> Network | None:
    # Published strides and bands; for other numbers of bands, one that gives as many patches.
    for bands in (128, 80, 64, 40):
        rows = (bands - patch) // 10 + 1
        if rows > 0 and count % rows == 0:
            frames = (count // rows - 1) * 10 + patch
            return Network('ast', dict(patch_size=patch, **options), {'audio': (1, frames, bands)})
    return None


# What a published BERT classifies is not the mean of its words: our head has no name there.
FORMATS = (
    Format('huggingface-bert', _bert, lambda path: _published(path, 'logits', _BERT), canonical=_bert_name,
           ignored=r'^cls\.|(^|\.)embeddings\.(position|token_type)_ids$'),
    Format('huggingface-vit', _vit, lambda path: _published(path, 'classifier', _VIT), canonical=_vit_name,
           ignored=r'(^|\.)(pooler\.dense\.(weight|bias)|embeddings\.mask_token)$'),
)
