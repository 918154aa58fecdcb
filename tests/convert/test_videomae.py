import json
import re
import zlib
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.convert.writers import assert_near, write_torch
from vmmjax import models
from vmmjax.convert import load, load_pretrained
from vmmjax.convert.videomae import decoder
from vmmjax.errors import UserError
from vmmjax.models.masked_transformer import MaskedDecoder
from vmmjax.models.tokens import Tokens
from vmmjax.tasks.masked import targets_of

DATA = Path(__file__).parent / 'data'
CASES = json.loads((DATA / 'videomae.json').read_text())


def weights(case: str) -> dict[str, np.ndarray]:
    """The tensors of a case in Hugging Face's published layout, see data/README.md."""
    made = {}
    for name, shape in CASES[case]['tensors']:
        x = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape)
        made[name] = (1 + 0.1 * x if 'norm' in name.lower() and name.endswith('weight') else 0.2 * x).astype(np.float32)
    return made


def authors(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The same in the authors' layout: other names, and queries, keys and values in one."""
    found: dict[str, Any] = {}
    pretrained = 'mask_token' in tensors
    for name, tensor in tensors.items():
        name = re.sub(r'^videomae\.', 'encoder.' if pretrained else '', name).replace('encoder.encoder.', 'encoder.')
        name = re.sub(r'(^|\.)(encoder\.layer|decoder_layers|layer)\.(\d)', r'\1blocks.\3', name)
        for ours, theirs in (('embeddings.patch_embeddings.projection', 'patch_embed.proj'), ('layernorm_before',
                             'norm1'), ('layernorm_after', 'norm2'), ('attention.output.dense', 'attn.proj'),
                             ('intermediate.dense', 'mlp.fc1'), ('output.dense', 'mlp.fc2'), ('attention.attention.',
                             'attn.'), ('encoder.layernorm', 'encoder.norm'), ('classifier', 'head')):
            name = name.replace(ours, theirs)
        part = re.fullmatch(r'(.*attn\.)(query|key|value)\.weight', name)
        if part:
            found.setdefault(f'{part[1]}qkv.weight', []).append(tensor)
        else:
            found[name] = tensor
    found = {name: np.concatenate(tensor) if isinstance(tensor, list) else tensor for name, tensor in found.items()}
    assert any('blocks.1.attn.qkv.weight' in name for name in found)
    assert not any('layer' in name for name in found)
    return {f'module.{name}': tensor for name, tensor in found.items()}


@pytest.mark.parametrize('layout', [dict, authors])
def test_a_fine_tuned_network_classifies_as_hugging_face_does(tmp_path: Path, layout: Any) -> None:
    case = CASES['classification']
    write_torch(tmp_path / 'model.bin', layout(weights('classification')))
    model, variables = load_pretrained(tmp_path / 'model.bin')
    x = np.random.default_rng(0).normal(size=case['input_shape']).astype(np.float32)
    outputs = jax.jit(lambda variables: model.apply(variables, {'rgb': x}, train=False).logits)(variables)
    assert_near(outputs, case['logits'])


@pytest.mark.parametrize('layout', [dict, authors])
def test_pretraining_predicts_what_hugging_face_does(tmp_path: Path, layout: Any) -> None:
    case, tensors = CASES['pretraining'], layout(weights('pretraining'))
    write_torch(tmp_path / 'model.bin', tensors)
    model, variables = load_pretrained(tmp_path / 'model.bin')
    raw = np.random.default_rng(1).integers(0, 256, case['input_shape']).astype(np.uint8)
    hidden = jnp.asarray(case['hidden_places'])
    keep = jnp.asarray([sorted({*range(8)} - {*row}) for row in case['hidden_places']])
    batch = {'rgb': raw, 'keep/rgb': keep}
    plain = {name.removeprefix('module.'): tensor for name, tensor in tensors.items()}

    def predicted(variables: Any, params: Any) -> jax.Array:
        clip = models.create_model('videomae', num_classes=0).preprocess(batch)
        x = model.apply(variables, clip, train=False).endpoints['rgb/tokens']
        seen = {'rgb': Tokens(x, jnp.ones(keep.shape, bool))}
        net = MaskedDecoder(values={'rgb': 2 * 8 * 8 * 3}, hidden_size=64, num_hidden_layers=2, num_attention_heads=1)
        return net.apply({'params': params}, seen, {'rgb': (keep, hidden)}, {'rgb': jnp.ones(hidden.shape, bool)},
                         {'rgb': (2, 2, 2)})['rgb']

    found = jax.jit(predicted, compiler_options={'xla_backend_optimization_level': 0})(variables, decoder(plain))
    with np.load(DATA / 'videomae.npz') as expected:
        assert_near(found, expected['logits'])
    patches = raw.reshape(2, 2, 2, 2, 8, 2, 8, 3).transpose(0, 1, 3, 5, 2, 4, 6, 7).reshape(2, 8, -1) / 255
    wanted = targets_of(jnp.take_along_axis(jnp.asarray(patches), hidden[..., None], 1), 3, 'channel')
    np.testing.assert_allclose(jnp.square(found - wanted).mean(), case['loss'], rtol=1e-5)


def test_head_counts_are_the_authors(tmp_path: Path) -> None:
    write_torch(tmp_path / 'pytorch_model.bin', weights('classification'))
    (tmp_path / 'config.json').write_text(json.dumps({'num_attention_heads': 16, 'layer_norm_eps': 1e-12}))
    encoder = load(tmp_path).model.encoders['rgb']
    assert (encoder.num_attention_heads, encoder.layer_norm_eps) == (None, 1e-12)


def test_a_fine_tuned_file_has_no_decoder() -> None:
    with pytest.raises(UserError, match='holds no decoder'):
        decoder(weights('classification'))


@pytest.mark.parametrize(('name', 'encoder', 'classified'), [
    ('S', 21_879_936, 22_033_936), pytest.param('B', 86_227_200, 86_534_800, marks=pytest.mark.slow),
    pytest.param('L', 303_860_736, 304_270_736, marks=pytest.mark.slow)])
def test_published_sizes(name: str, encoder: int, classified: int) -> None:
    options = dict(S=dict(hidden_size=384, intermediate_size=1536), B={}, L=dict(
        hidden_size=1024, intermediate_size=4096, num_hidden_layers=24))[name]

    def count(classes: int, pooled: bool) -> int:
        model = models.create_model('videomae', num_classes=classes, pooled=pooled, **options)
        clip = {'rgb': jax.ShapeDtypeStruct((1, 16, 224, 224, 3), jnp.float32)}
        shapes = jax.eval_shape(lambda clip: model.init(jax.random.key(0), clip, train=False), clip)
        return sum(leaf.size for leaf in jax.tree.leaves(shapes['params']))

    assert count(0, False) == encoder
    assert count(400, True) == classified
