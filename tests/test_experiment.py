"""A run from Python: what it predicts of files is what its evaluation says of the same clips, wherever it lies."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest

from tests.cli import toy_config
from tests.cli.conftest import store  # noqa: F401 - a fixture.
from tests.evaluation.clips import config_of, make_store
from tests.training import tiny
from vmmjax import config as configs
from vmmjax import convert
from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.prepare.sources import read
from vmmjax.prepare.sources.clip import of_file
from vmmjax.serving.network_inputs import of_run
from vmmjax.training import Checkpoints, manifest
from vmmjax.training.workdir import run_inputs


@pytest.fixture(scope='module')
def run(store, tmp_path_factory):  # noqa: F811
    """A trained run whose store is gone, its evaluation, and the clips of the test split."""
    folder = tmp_path_factory.mktemp('experiment')
    here = shutil.copytree(store, folder / 'store')
    config = toy_config.get_config()
    with config.unlocked():
        config.steps, config.evaluate_every, config.data.store = 6, 0, str(here)
    experiment = Experiment(configs.lock(config), devices=jax.devices()[:1]).train(folder / 'run')
    found = experiment.predictions('test')
    result = experiment.evaluate('test')
    shutil.rmtree(here)
    manifest = next((store / 'files').rglob('manifest.csv'), None) or next(store.parent.rglob('manifest.csv'))
    clips = [clip for clip in read(str(manifest)) if clip.split == 'test']
    return folder / 'run', found, result, clips


def test_prediction_is_evaluation_and_needs_the_runs_folder_alone(run, tmp_path, monkeypatch):
    folder, evaluated, result, clips = run
    moved = shutil.copytree(folder, tmp_path / 'moved')
    monkeypatch.chdir(tmp_path)
    experiment = Experiment.load(moved)
    found = experiment.predict([of_file(clip.path, id=clip.id) for clip in clips])
    whole = next(iter(evaluated.values()))  # Of all streams.
    assert len(found) == len(whole.id) == 21
    for each, scores, *present in zip(found, whole.scores, *whole.present.values(), strict=True):
        np.testing.assert_allclose(each.scores, scores, rtol=1e-5, atol=1e-5)
        assert list(each.present.values()) == present
    named = [each.reading[0]['named'][0][0] for each in found]
    accuracy = np.mean([name == clip.labels['label'] for name, clip in zip(named, clips, strict=True)])
    assert accuracy == pytest.approx(result.metrics['accuracy'])


def test_the_files_of_a_run_are_compared_with_their_sums_once(run, monkeypatch):
    folder, *_ = run
    compared = []
    monkeypatch.setattr(manifest, 'fault', lambda file, step: compared.append(step.name))
    Experiment.load(folder)
    assert compared == ['6']
    of_run(folder)
    assert compared == ['6', '6']


def test_arrays_are_predicted_as_files_are(run):
    folder, *_ = run
    experiment = Experiment.load(folder)
    frames = np.full((2, 13, 32, 32, 3), 77, np.uint8)
    found = experiment.predict({'rgb': frames}, most=2)
    assert [each.present for each in found] == [{'rgb': True, 'audio': False}] * 2
    np.testing.assert_array_equal(found[0].scores, found[1].scores)
    assert len(found[0].reading[0]['named']) == 2


def test_a_file_that_cannot_be_read_costs_itself(run, tmp_path):
    folder, _, _, clips = run
    (tmp_path / 'broken.mp4').write_bytes(b'nothing')
    broken, good = Experiment.load(folder).predict([tmp_path / 'broken.mp4', clips[0].path])
    assert 'broken.mp4' in broken.error
    assert broken.to_json().keys() == {'clip', 'error'}
    assert not good.error
    assert json.loads(json.dumps(good.to_json()))['present'] == {'rgb': True, 'audio': True}


def test_before_training_there_is_nothing_to_predict_by(run):
    folder, *_ = run
    _, meta = Checkpoints(folder).newest_meta()
    experiment = Experiment(configs.from_json(meta['config']), run_inputs=run_inputs(folder, meta))
    with pytest.raises(UserError, match='no parameters yet'):
        experiment.predict([])
    batch = {name: np.zeros((2, *shape), dtype) for name, (shape, dtype) in experiment.run_inputs['spec'].items()}
    assert jax.eval_shape(lambda key: experiment.apply(experiment.init(key), batch, train=False),
                          jax.random.key(0)).logits.shape == (2, 8)


def test_a_run_of_before_says_how_it_can_be_used_without_its_store(run, tmp_path):
    folder, *_ = run
    checkpoints = Checkpoints(tmp_path)
    state = Experiment.load(folder).state
    _, meta = Checkpoints(folder).newest_meta()
    checkpoints.save(dataclasses.replace(state, opt_state=()), {key: meta[key] for key in (
        'config', 'fingerprint', 'classes')})
    checkpoints.close()
    with pytest.raises(UserError, match=r'older vmmjax.*--write_inputs --store=STORE'):
        Experiment.load(tmp_path)


@pytest.mark.slow
def test_low_rank_factors_are_trained_on_few_labels_and_merged(tmp_path):
    path = make_store(tmp_path / 'clips')

    def trained(name, **changes):
        config = config_of(path, dict(name='classification'), 'letter', steps=8)
        with config.unlocked():
            config.update_from_flattened_dict(changes)
        return Experiment(configs.lock(config), devices=jax.devices()[:1]).train(tmp_path / name)

    first = trained('first')
    second = trained('second', **{'lora.rank': 2, 'lora.kernels': ('encoders_one/.*kernel',), 'data.labels_share': 0.25,
                                  'init_from.workdir': str(tmp_path / 'first')})
    assert (len(first.store.rows('train')), len(second.store.rows('train'))) == (64, 16)
    before, after = (run.variables['params'] for run in (first, second))
    assert after.keys() == before.keys()
    dense = 'encoders_one', 'Dense_0'
    assert not np.array_equal(before[dense[0]][dense[1]]['kernel'], after[dense[0]][dense[1]]['kernel'])
    np.testing.assert_array_equal(before[dense[0]][dense[1]]['bias'], after[dense[0]][dense[1]]['bias'])
    loaded = Experiment.load(tmp_path / 'second')
    tiny.assert_equal(loaded.variables, second.variables)
    for each in (loaded, convert.load(tmp_path / 'second')):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-8), each.variables,
                     dict(second.variables))
    assert loaded.evaluate('test').metrics == second.evaluate('test').metrics
