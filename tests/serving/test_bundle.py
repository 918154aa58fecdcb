"""A run as a bundle: it predicts what the run does, proves itself, and runs where neither Flax nor vmmjax is."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from tests.serving import tiny, two_streams
from vmmjax import atomic, convert
from vmmjax.convert import files
from vmmjax.convert.bundle import README, WEIGHTS, Bundle, packed
from vmmjax.convert.bundle import write as write_members
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.serving import bundle, network_inputs
from vmmjax.tasks.classification import Classification


@pytest.fixture(scope='module')
def run(tmp_path_factory):
    """A run in its folder, and as a bundle."""
    folder = tmp_path_factory.mktemp('bundle')
    two_streams.save(folder / 'run', two_streams.experiment(two_streams.config_of()))
    told = []
    bundle.write(folder / 'run', folder / 'model.vmm', say=told.append)
    assert [line.partition(';')[0] for line in told] == [
        'cpu: run', 'cuda: lowered, not run', 'tpu: lowered, not run']
    return folder / 'run', folder / 'model.vmm'


def changed(path, to, **members):
    """A bundle with other members, whose checksums are right."""
    found = Bundle(path)
    write_members(to, {name: members.get(name, found.member(name)) for name in found.check()})
    return to


def test_it_says_what_it_is(run):
    contents = Bundle(run[1]).contents
    assert contents['run']['classes'] == two_streams.CLASSES
    assert contents['run']['config']['data']['window']['seconds'] == 0.2
    assert contents['run']['inputs']['data'] == two_streams.DATA
    assert contents['step'] == 7
    assert contents['task'] == {'name': 'classification', 'target': 'label', 'label_smoothing': 0.0, 'gamma': 0.0,
                                'class_weights': 'none', 'stream_weights': {}}
    assert {'vmmjax', 'jax', 'jaxlib', 'flax', 'numpy', 'python'} == contents['versions'].keys()
    program = contents['program']
    assert program['platforms'] == {'cpu': 'run', 'cuda': 'lowered, not run', 'tpu': 'lowered, not run'}
    assert program['outputs'] == {'scores': {'dtype': 'float32', 'shape': ['batch', 3]}}
    assert program['inputs']['rgb'] == {'dtype': 'uint8', 'shape': ['batch', 4, 16, 16, 3]}
    assert program['inputs']['valid/audio'] == {'dtype': 'bool', 'shape': ['batch', 20]}


def test_a_bundle_is_exported_again_to_the_same_bytes(run, tmp_path):
    bundle.write(run[1], tmp_path / 'again.vmm', say=lambda line: None)
    assert (tmp_path / 'again.vmm').read_bytes() == run[1].read_bytes()
    assert [path.name for path in tmp_path.iterdir()] == ['again.vmm']


def test_it_proves_itself(run):
    proof = bundle.check(run[1])
    assert (proof.members, proof.platform, proof.tolerance) == (7, 'cpu', 1e-5)
    assert proof.error <= 1e-5


def test_other_weights_or_a_program_of_another_jax_are_noticed(run, tmp_path):
    weights = {name: array + np.float32(0.01) for name, array in Bundle(run[1]).weights.items()}
    with pytest.raises(UserError, match='does not give its golden outputs on cpu: they differ by'):
        bundle.check(changed(run[1], tmp_path / 'other.vmm', **{WEIGHTS: packed(weights)}))
    with pytest.raises(UserError, match=r'programs/cpu.jax_export of .* cannot be read by jax'):
        bundle.check(changed(run[1], tmp_path / 'other.vmm', **{'programs/cpu.jax_export': bytes(100)}))


def test_the_run_is_loaded_from_it(run):
    folder, path = run
    pictures = np.random.default_rng(0).integers(0, 256, (3, 5, 16, 16, 3), np.uint8)
    expected, found = (Experiment.load(where).predict({'rgb': pictures}) for where in (folder, path))
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(one.scores, other.scores)
        assert one.to_json() == other.to_json()
        assert one.present == {'rgb': True, 'audio': False}
    with pytest.raises(UserError, match='holds one checkpoint'):
        Experiment.load(path, best=True)


def test_the_network_is_loaded_from_it(run):
    folder, path = run
    expected, found = (convert.load(where) for where in (folder, path))
    assert found.report.format == 'vmmjax'
    one, other = (flatten_dict(loaded.variables, sep='/') for loaded in (expected, found))
    assert one.keys() == other.keys()
    for name, array in one.items():
        np.testing.assert_array_equal(array, other[name])
    assert network_inputs.of_run(path)[0] == network_inputs.of_run(folder)[0]
    with pytest.raises(UserError, match='is a run of vmmjax, which tells its model itself'):
        convert.load(path, name='i3d')


@dataclasses.dataclass(frozen=True, kw_only=True)
class WithOwnParts(Classification):
    """Has parameters of its own that prediction reads, and some that only training does."""

    name = 'tests.serving.test_bundle:WithOwnParts'

    def init(self, key, outputs, batch):
        return {'params': {'task': {'offset': jnp.ones(3)}, 'task_training': {'queue': jnp.zeros((5, 4))}}}

    def compute(self, ctx):
        return super().compute(ctx) + ctx.params['task']['offset']


def test_averages_are_exported_and_what_only_training_needs_is_not(tmp_path):
    trained = two_streams.experiment(two_streams.config_of(ema_decay=0.9, task=dict(name=WithOwnParts.name)))
    averages = trained.state.params
    trained.state = trained.state.replace(params=jax.tree.map(lambda leaf: 2 * leaf, averages), ema=averages)
    two_streams.save(tmp_path / 'run', trained)
    told = []
    bundle.write(tmp_path / 'run', tmp_path / 'm.vmm', say=told.append)
    assert told[0] == 'Left out: 20 parameters that only training needs (task_training).'
    expected = flatten_dict({'params': averages}, sep='/')
    del expected['params/task_training/queue']
    weights = Bundle(tmp_path / 'm.vmm').weights
    loaded = flatten_dict(Experiment.load(tmp_path / 'm.vmm').variables, sep='/')
    assert weights.keys() == loaded.keys() == expected.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(weights[name], leaf)
        np.testing.assert_array_equal(loaded[name], leaf)


def test_low_rank_factors_are_merged(tmp_path):
    lora = dict(lora__rank=2, lora__kernels=('head/logits/kernel$',), lora__train=())
    adapted = two_streams.experiment(two_streams.config_of(**lora))
    assert adapted.state.params['lora']['head']['logits']['kernel']['b'].any()
    two_streams.save(tmp_path / 'run', adapted)
    bundle.write(tmp_path / 'run', tmp_path / 'm.vmm', say=lambda line: None)
    expected, found = (flatten_dict(Experiment.load(tmp_path / name).variables, sep='/') for name in ('run', 'm.vmm'))
    assert not any('lora' in name for name in Bundle(tmp_path / 'm.vmm').weights)
    assert expected.keys() == found.keys()
    for name, leaf in expected.items():
        np.testing.assert_array_equal(leaf, found[name])


RECIPE = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split('.')[0] in ('flax', 'vmmjax', 'orbax', 'optax', 'tensorflow'):
            raise ImportError(name + ' is not to be imported')
sys.meta_path.insert(0, Absent())
"""


def test_jax_alone_runs_it_by_the_recipe_in_it(run, tmp_path):
    (recipe,) = re.findall(r'```python\n(.*?)```', Bundle(run[1]).member(README).decode(), re.DOTALL)
    assert recipe in (Path(__file__).parents[2] / 'docs' / 'deployment.md').read_text()
    environment = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'XLA_FLAGS')}
    found = subprocess.run([sys.executable, '-c', RECIPE + recipe, run[1]], cwd=tmp_path, env=environment, text=True,
                           capture_output=True, check=False, timeout=300)
    assert found.returncode == 0, found.stderr
    lines = [line.split() for line in found.stdout.splitlines()]
    assert [line[:2] for line in lines] == [['1', 'scores'], ['5', 'scores']]
    assert all(float(error) <= 1e-5 for *_, error in lines)


def test_weights_as_model_hubs_expect_them(run, tmp_path):
    (tmp_path / 'hub').mkdir()
    bundle.write_safetensors(run[0], tmp_path / 'hub', say=lambda line: None)
    assert {path.name for path in tmp_path.rglob('*')} == {'hub', 'config.json', 'model.safetensors'}
    tensors = files.read(tmp_path / 'hub' / 'model.safetensors')
    weights = Bundle(run[1]).weights
    assert tensors.keys() == weights.keys()
    for name, array in weights.items():
        np.testing.assert_array_equal(tensors[name], array)
    told = json.loads((tmp_path / 'hub' / 'config.json').read_text())
    assert told['run'] == Bundle(run[1]).contents['run']


def test_a_failed_export_leaves_nothing(run, tmp_path, monkeypatch):
    monkeypatch.setattr(bundle.programs, 'error_of', lambda *_: 0.5)
    with pytest.raises(UserError, match=r'differs from the run by 5.0e-01.*nothing was written'):
        bundle.write(run[0], tmp_path / 'm.vmm', say=lambda line: None)
    (tmp_path / 'hub').mkdir()
    (tmp_path / 'hub' / 'file').touch()
    with pytest.raises(OSError, match='not empty'):
        bundle.write_safetensors(run[0], tmp_path / 'hub', say=lambda line: None)
    assert {path.name for path in tmp_path.rglob('*')} == {'hub', 'file'}
    assert not list(tmp_path.rglob(f'*{atomic.SUFFIX}'))


def test_a_network_that_was_never_trained_here_is_not_exported(tmp_path):
    folder = tiny.save_run(tmp_path / 'converted')
    with pytest.raises(UserError, match='was never trained here'):
        bundle.write(folder, tmp_path / 'm.vmm')
