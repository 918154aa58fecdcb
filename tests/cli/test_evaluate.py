import json
import re
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.cli import toy_config
from tests.cli.conftest import ROOT, environment, refused, vmmjax
from tests.models.frames import FAST
from vmmjax import config as configs
from vmmjax.evaluation.statistics import read_scores
from vmmjax.experiment import Experiment
from vmmjax.training import Checkpoints
from vmmjax.training.state import TrainState


def test_every_subset_is_measured_on_the_clips_that_have_it(trained):
    found = vmmjax('evaluate', f'--workdir={trained}')
    assert found.returncode == 0, found.stderr
    result = json.loads((trained / 'eval' / 'test.json').read_text())
    assert result['examples'] == 21
    assert 0 <= result['metrics']['accuracy'] <= 1
    assert list(result['subsets']) == ['audio+rgb', 'audio', 'rgb']
    assert [row['examples'] for row in result['subsets'].values()] == [19, 19, 21]
    for row in result['subsets'].values():
        assert {'accuracy', 'motion', 'axis', 'tone'} <= row.keys()
        assert row['accuracy'] <= min(row['motion'], row['tone'])
        assert row['motion'] <= row['axis']
    assert sum(map(sum, result['confusion'])) == 21
    for row in (result, *result['subsets'].values()):
        interval = row['intervals']['accuracy']
        assert interval['low'] <= row.get('metrics', row)['accuracy'] <= interval['high']
        assert interval['label'] == '95 % CI, Wilson'
    assert 'Confidence interval (CI) of accuracy: 95 % CI, Wilson.' in found.stdout
    for name in ('audio+rgb', 'precision', 'most frequent class'):
        assert name in found.stdout
    losses = [clip['loss'] for clip in result['worst']]
    assert losses == sorted(losses, reverse=True)
    assert result['cost']['parameters'] > 100
    assert result['cost']['macs'] > 1000
    page = (trained / 'report.html').read_text()
    assert page.count('<video') == len(result['worst']) == 6
    assert 'Cost' in page
    assert 'Confidence interval (CI) of accuracy: 95 % CI, Wilson.' in page
    assert str(trained.parent) not in page


@pytest.mark.slow
def test_maps_of_the_worst_clips_are_drawn(trained):
    found = vmmjax('evaluate', f'--workdir={trained}', '--explain')
    assert found.returncode == 0, found.stderr
    page = (trained / 'report.html').read_text()
    worst = json.loads((trained / 'eval' / 'test.json').read_text())['worst']
    heard = sum('audio' in clip['streams'][0]['values'] for clip in worst)
    assert page.count('hirescam at encoders_audio') == heard > 0  # The pictures of this network have no places.
    assert page.count('which stream said what:') == 6
    assert 'Which stream said what' in page


@pytest.mark.slow
def test_what_cannot_be_streamed_is_refused(trained):
    assert 'cannot be streamed frame by frame; stream a model of one stream' in refused(
        'evaluate', f'--workdir={trained}', '--streaming')


@pytest.mark.slow
def test_frame_by_frame_a_run_is_as_right_as_on_whole_clips(tmp_path, store):
    values = toy_config.get_config().to_dict()
    values['data'].update(store=str(store), streams=dict(rgb=dict(modality='rgb', frames=4, size=24)), dropout={})
    values['model'].update(preprocess=dict(rgb='signed'), encoders=dict(
        rgb=dict(name='tsm_resnet18', width_multiplier=0.125, shift='uni')))
    run = Experiment(configs.lock(configs.ConfigDict(values)), devices=jax.devices()[:1])
    variables = dict(jax.jit(run.init, compiler_options=FAST)(jax.random.key(0)))
    params = variables.pop('params')
    params['head']['logits']['kernel'] *= 1e3  # The classes of one that is not trained are told apart, too.
    run.state = TrainState(step=jnp.asarray(7), params=params, model_state=variables, opt_state=())
    folder = tmp_path / 'run'
    checkpoints = Checkpoints(folder)
    checkpoints.save(run.state, run.identity)
    checkpoints.close()
    measured = []
    for options in ([], ['--streaming']):
        assert vmmjax('evaluate', f'--workdir={folder}', *options).returncode == 0
        measured.append((json.loads((folder / 'eval' / 'test.json').read_text()),
                         read_scores(folder / 'eval' / 'test.npz')))
    (whole, scores), (streamed, others) = measured
    assert streamed['streaming'] is True
    assert streamed['metrics']['accuracy'] == whole['metrics']['accuracy']
    assert np.ptp(scores.scores['rgb'][''], axis=0).min() > 0.01
    assert others.scores['rgb'][''] == pytest.approx(scores.scores['rgb'][''], abs=1e-4)


@pytest.mark.slow
def test_a_second_evaluation_gives_the_same_bytes(trained):
    vmmjax('evaluate', f'--workdir={trained}', '--split=validation')
    first = (trained / 'eval' / 'validation.json').read_text()
    again = vmmjax('evaluate', f'--workdir={trained}', '--split=validation')
    assert (trained / 'eval' / 'validation.json').read_text() == first
    assert re.search(r'the evaluation number \d+ of the split validation', again.stdout)


FAILS_TO_SHOW = """
from vmmjax.cli import main
from vmmjax.reports import reconstructions


def shown(run, split):
    raise MemoryError


reconstructions.shown = shown
main.run()
"""


@pytest.mark.slow
def test_what_was_measured_is_written_before_clips_are_made_for_the_page(trained):
    result = trained / 'eval' / 'train.json'
    assert not result.exists()
    found = subprocess.run([sys.executable, '-c', FAILS_TO_SHOW, 'evaluate', f'--workdir={trained}', '--split=train'],
                           cwd=ROOT, env=environment(), text=True, capture_output=True, check=False, timeout=300)
    assert 'MemoryError' in found.stderr
    assert json.loads(result.read_text())['examples'] == 40
    assert result.with_suffix('.npz').exists()
    for path in (result, result.with_suffix('.npz')):
        path.unlink()


@pytest.mark.slow
def test_clips_are_looked_at_as_a_test_protocol_says(trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / 'run')
    change = '--change=data.views.clips=2; data.views.crops=3; data.streams.rgb.frames=6'
    found = vmmjax('evaluate', f'--workdir={copy}', change)
    assert found.returncode == 0, found.stderr
    result = json.loads((copy / 'eval' / 'test.json').read_text())
    assert result['examples'] == 21
    assert result['changes'] == {'data.views.clips': 2, 'data.views.crops': 3, 'data.streams.rgb.frames': 6}


@pytest.mark.slow
def test_another_run_stands_beside(trained, tmp_path):
    other = tmp_path / 'other'
    shutil.copytree(trained, other)
    vmmjax('evaluate', f'--workdir={other}')
    found = vmmjax('evaluate', f'--workdir={trained}', f'--beside={other}')
    assert 'other: rgb' in found.stdout
    assert vmmjax('evaluate', f'--workdir={trained}', f'--base={other}').returncode == 0
    assert 'The configs are the same.' in (trained / 'report.html').read_text()


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--split=tset'], "'tset'"),
    (['--store=nowhere'], 'nowhere is not a finished store'),
    (['--beside=nowhere'], 'nowhere/eval/test.json is not there'),
    (['--change=data.fold=1'], "--change has 'data.fold=1', where key=value of config.data is meant"),
    (['--change=data.veiws.clips=2'], "--change sets 'data.veiws.clips', but the config has no 'veiws': did you mean"),
    (["--change=data.nothing='a;b'"], "The config has a key 'data.nothing'"),
    (['--base=nowhere'], 'no finished checkpoint in nowhere'),
])
def test_what_a_user_gets_wrong_is_one_sentence(trained, arguments, message):
    assert message in refused('evaluate', f'--workdir={trained}', *arguments)


@pytest.mark.slow
def test_another_store_is_measured_beside_the_runs_own(trained, store, tmp_path):
    run = shutil.copytree(trained, tmp_path / 'run')
    moved, other = shutil.copytree(store, tmp_path / 'moved'), shutil.copytree(store, tmp_path / 'other')
    column = json.loads((other / 'rgb' / 'column.json').read_text())
    column['options']['short_side'] = 40
    (other / 'rgb' / 'column.json').write_text(json.dumps(column))
    assert vmmjax('evaluate', f'--workdir={run}', f'--store={moved}').returncode == 0
    own = {name: (run / name).read_bytes() for name in ('eval/test.json', 'eval/test.npz', 'report.html')}
    assert json.loads(own['eval/test.json'])['store'] == str(moved)
    found = vmmjax('evaluate', f'--workdir={run}', f'--store={other}')
    assert found.returncode == 0, found.stderr
    assert {name: (run / name).read_bytes() for name in own} == own
    beside = run / 'new_clips' / 'other'
    assert json.loads((beside / 'eval' / 'test.json').read_text())['store'] == str(other)
    assert (beside / 'eval' / 'test.npz').exists()
    written = f'{beside / "eval" / "test.json"} and {beside / "report.html"}'
    assert found.stdout.endswith(f'Wrote {written}; the clips are of {other}.\n')
    again = shutil.copytree(other, tmp_path / 'further' / 'other')
    (again / 'rgb' / 'column.json').write_text(json.dumps(column | {'options': column['options'] | {'short_side': 48}}))
    assert '--name' in refused('evaluate', f'--workdir={run}', f'--store={again}')


@pytest.mark.slow
def test_clips_that_were_trained_on_in_another_store_are_refused(trained, store, tmp_path):
    other = shutil.copytree(store, tmp_path / 'other')
    meta = json.loads((other / 'store.json').read_text())
    splits = meta['splits']
    splits['train'], splits['test'] = splits['test'], splits['train']
    (other / 'store.json').write_text(json.dumps(meta))
    arguments = ('evaluate', f'--workdir={trained}', f'--store={other}')
    assert '40 clips of the split test' in refused(*arguments)
    assert vmmjax(*arguments, '--split=validation').returncode == 0


def test_a_workdir_without_checkpoint(tmp_path):
    assert 'no finished checkpoint' in refused('evaluate', f'--workdir={tmp_path}')


def test_the_predictions_stand_in_a_file_clip_by_clip(trained):
    assert vmmjax('evaluate', f'--workdir={trained}').returncode == 0
    result = json.loads((trained / 'eval' / 'test.json').read_text())
    scores = read_scores(trained / 'eval' / 'test.npz')
    assert list(scores.scores) == list(result['subsets'])
    assert len(set(scores.clip)) == 21
    for subset, row in result['subsets'].items():
        right = scores.right(subset)[scores.present[subset.split('+')[0]] & scores.present[subset.split('+')[-1]]]
        assert len(right) == row['examples']
        assert right.mean() == pytest.approx(row['accuracy'])


@pytest.mark.slow
def test_scores_of_runs_are_fused(trained, tmp_path):
    for split in ('test', 'validation'):
        assert vmmjax('evaluate', f'--workdir={trained}', f'--split={split}').returncode == 0
    test, validation = (trained / 'eval' / f'{split}.npz' for split in ('test', 'validation'))
    found = vmmjax('evaluate', f'--fuse={test},{test}', '--weights=search', f'--tune={validation},{validation}')
    assert found.returncode == 0, found.stderr
    # Bonett and Price: 21 clips without a difference do not say that there is none.
    assert re.search(r'fused \+0\.0 \(-\d+\.\d to \+\d+\.\d\), McNemar p 1\n', found.stdout)
    assert '21 clips; weights 0.5, 0.5 of logits.' in found.stdout
    assert 'among those that are measured' in refused(
        'evaluate', f'--fuse={test},{test}', '--weights=search', f'--tune={test},{test}')


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], '--workdir is missing'),
    (['--fuse=nowhere.npz'], 'nowhere.npz holds no predictions'),
])
def test_something_must_be_named_that_is_there(arguments, message):
    assert message in refused('evaluate', *arguments)
