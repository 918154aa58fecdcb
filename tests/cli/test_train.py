import json
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from tests.cli.conftest import TOY, refused, started, vmmjax
from vmmjax.training import Checkpoints


def final(workdir, step=30):
    checkpoints = Checkpoints(workdir)
    assert checkpoints.newest() == step
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    wanted = {name: jax.ShapeDtypeStruct(shape, np.float32, sharding=one)
              for name, shape in checkpoints.shapes(step).items() if name.startswith(('params', 'opt_state/1/0/mu'))}
    return jax.device_get(checkpoints.restore_arrays(step, wanted))


def steps(workdir):
    path = workdir / 'log.jsonl'
    return [json.loads(line)['step'] for line in path.read_text().splitlines()] if path.exists() else []


def kill_after(step, workdir, *arguments):
    """kill -9 of the training process as soon as it has logged a step."""
    process = started('train', *arguments, f'--workdir={workdir}')
    deadline = time.monotonic() + 120
    while max(steps(workdir), default=0) < step:
        assert process.poll() is None, 'the run ended before it was killed'
        assert time.monotonic() < deadline
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()


@pytest.mark.slow
def test_a_run_killed_twice_ends_with_the_same_parameters_bit_for_bit(tmp_path, store, trained):
    arguments = (TOY, f'--config.data.store={store}')
    kill_after(5, tmp_path, *arguments)
    kill_after(17, tmp_path, *arguments)
    found = vmmjax('train', *arguments, f'--workdir={tmp_path}')
    assert found.returncode == 0, found.stderr
    assert 'Going on from step' in found.stdout
    whole, killed = final(trained), final(tmp_path)
    assert whole.keys() == killed.keys()
    for name, array in whole.items():
        np.testing.assert_array_equal(array, killed[name], err_msg=name)
    assert sorted(set(steps(tmp_path))) == list(range(1, 31))


def test_the_log_says_what_a_person_wants_to_see(trained):
    lines = [json.loads(line) for line in (trained / 'log.jsonl').read_text().splitlines()]
    assert {'train/loss', 'train/accuracy', 'clips_per_second', 'learning_rate'} <= lines[0].keys()
    validation = [line for line in lines if 'validation/accuracy' in line]
    assert [line['step'] for line in validation] == [10, 20, 30]
    assert {'validation/motion', 'validation/tone', 'validation/loss'} <= validation[0].keys()


def test_a_workdir_of_another_config_is_refused(trained, store):
    line = refused('train', TOY, f'--workdir={trained}', f'--config.data.store={store}', '--config.seed=1')
    assert 'another config: seed was 0, is 1' in line
    assert '--allow_changed=seed' in line


def test_a_store_that_was_prepared_again_otherwise_is_refused(trained, store, tmp_path):
    again = shutil.copytree(store, tmp_path / 'store')
    shutil.rmtree(again / 'rgb')
    found = vmmjax('prepare', '--source=synthetic:motion_sound', f'--store={again}', '--columns=rgb', '--short_side=40',
                   '--fps=12.5', '--sizes=train=40,validation=12,test=21')
    assert found.returncode == 0, found.stderr
    line = refused('train', TOY, f'--workdir={trained}', f'--config.data.store={again}')
    assert 'the column rgb has short_side=40, and had 32' in line
    assert 'the column rgb has fps=12.5, and had 6.25' in line
    assert 'audio' not in line


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--config.stepz=1'], "no key 'stepz'. Did you mean \"steps\""),
    (['--config.data.streams.rgb.framez=1'], "no key 'framez'. Did you mean \"frames\""),
    (['--config.data.target=lable'], "'lable'"),
    (['--config.data.streams.rgb.modality=flow'], 'vmmjax prepare'),
    (['--config.data.streams.rgb.size=64'], 'larger --short_side'),
    (['--config.model.fusion.name=concatt'], "no fusion 'concatt': did you mean 'concat'"),
    (['--config.model.encoders.rgb.name=i3dd'], "no encoder 'i3dd': did you mean 'i3d'"),
    (['--config.optimizer.name=adam'], "did you mean 'adamw'"),
    (['--config.data.store=nowhere'], 'nowhere is not a finished store'),
    (['--config.steps=many'], 'config.steps'),
    (['--wrokdir=x'], 'workdir'),
])
def test_what_a_user_gets_wrong_is_one_sentence(tmp_path, store, arguments, message):
    line = refused('train', TOY, f'--workdir={tmp_path / "run"}', f'--config.data.store={store}', *arguments)
    assert message in line
    assert not list((tmp_path / 'run').glob('checkpoints*'))


def test_a_config_file_that_is_not_there(tmp_path):
    assert 'nothing.py is not there' in refused('train', '--config=nothing.py', f'--workdir={tmp_path}')


def test_a_workdir_that_cannot_be_written(tmp_path, store):
    (tmp_path / 'file').write_text('')
    line = refused('train', TOY, f'--workdir={tmp_path / "file" / "run"}', f'--config.data.store={store}')
    assert 'cannot be written' in line
