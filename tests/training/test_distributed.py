import json
import shutil
import signal
import time

import jax
import numpy as np
import pytest

from tests.training import processes, tiny
from vmmjax.errors import UserError
from vmmjax.training import Checkpoints
from vmmjax.training.distributed import agreed, joined
from vmmjax.training.workdir import hold

SETTINGS = {'steps': 30, 'log_every': 1, 'mesh.fsdp': 2}


def logged(folder):
    """The loss by step."""
    path = folder / 'log.jsonl'
    lines = path.read_text().split('\n')[:-1] if path.is_file() else []
    return {line['step']: line['train/loss'] for line in map(json.loads, lines) if 'train/loss' in line}


def wait_for_step(folder, step):
    """Waits until the run has logged a step."""
    deadline = time.monotonic() + 600
    while max(logged(folder), default=0) < step:
        assert time.monotonic() < deadline, processes.output(folder)
        time.sleep(0.01)


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A run of two processes with two devices each, one of which got SIGTERM, then gone on from."""
    folder = tmp_path_factory.mktemp('processes') / 'run'
    started = processes.start(folder, sleep=0.05, **SETTINGS)
    wait_for_step(folder, 7)
    started[1].send_signal(signal.SIGTERM)
    assert processes.finish(started) == [0, 0], processes.output(folder) + processes.output(folder, 1)
    stopped = Checkpoints(folder).newest()
    outputs = [processes.output(folder, process) for process in (0, 1)]
    shutil.copytree(folder, folder.with_name('stopped'))
    assert processes.finish(processes.start(folder, **SETTINGS)) == [0, 0], processes.output(folder)
    return folder, stopped, outputs


def test_sigterm_to_one_of_two_processes_saves_the_same_step_in_both(trained):
    folder, stopped, outputs = trained
    assert 8 <= stopped < 30
    for text in outputs:
        assert f'Stopped at step {stopped} of 30 by SIGTERM.' in text
    assert 'Going on from step' not in outputs[0]
    assert f'Going on from step {stopped}' in processes.output(folder)


def test_one_process_of_several_speaks_and_logs(trained):
    folder, _, outputs = trained
    assert 'step 30/30' in processes.output(folder, 0)
    assert 'step ' not in processes.output(folder, 1).replace(outputs[1], '')
    assert sorted(logged(folder)) == list(range(1, 31))


def test_two_processes_train_as_one_does(trained, tmp_path):
    folder, _, _ = trained
    tiny.run(tmp_path, tiny.config(**SETTINGS), devices=jax.devices()[:4])
    one, two = logged(tmp_path), logged(folder)
    np.testing.assert_allclose([two[step] for step in range(1, 6)], [one[step] for step in range(1, 6)], rtol=1e-4)
    np.testing.assert_allclose(two[30], one[30], rtol=1e-2)  # Sums in float32 have drifted.


@pytest.mark.parametrize('devices', [1, 8])
def test_their_checkpoint_goes_on_in_one_process_on_another_mesh(trained, tmp_path, devices):
    folder, stopped, _ = trained
    run = tmp_path / 'run'
    shutil.copytree(folder.with_name('stopped'), run)
    state = tiny.run(run, tiny.config(**{**SETTINGS, 'mesh.fsdp': 1}), devices=jax.devices()[:devices],
                     allow_changed=['mesh'])
    assert state.step == 30
    assert min(step for step in logged(run) if step > stopped) == stopped + 1
    np.testing.assert_allclose(logged(run)[30], logged(folder)[30], rtol=1e-2)


def test_their_checkpoint_is_read_for_evaluation_only(trained):
    folder, _, _ = trained
    checkpoints = Checkpoints(folder)
    one = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    like = {'params': {'head': {'kernel': jax.ShapeDtypeStruct((16, 4), np.float32, sharding=one)}}}
    found = checkpoints.restore(checkpoints.newest(), like)
    assert np.isfinite(found['params']['head']['kernel']).all()


@pytest.mark.slow
def test_where_one_process_is_killed_the_other_ends_and_the_run_goes_on(trained, tmp_path):
    folder, _, _ = trained
    run = folder.with_name('killed')
    started = processes.start(run, sleep=0.05, patience=20, **SETTINGS)
    wait_for_step(run, 7)
    started[1].kill()
    assert processes.finish(started, timeout=200)[0] != 0
    assert processes.finish(processes.start(run, **SETTINGS)) == [0, 0], processes.output(run)
    assert logged(run)[30] == logged(folder)[30]


def test_what_one_process_finds_wrong_ends_both_with_a_sentence(trained):
    folder, _, _ = trained
    with hold(folder):
        assert processes.finish(processes.start(folder, log=folder.with_name('second'), **SETTINGS), timeout=60)[0] == 2
    assert 'vmmjax: Another run holds the workdir' in processes.output(folder.with_name('second'))


def test_alone_nothing_is_asked_of_others():
    with joined(num_processes=1):
        assert agreed(lambda: 3) == 3
        assert not jax.distributed.is_initialized()


def test_without_flags_and_cluster_a_process_is_alone_even_where_jax_was_used_before():
    jax.devices()
    with joined():
        assert not jax.distributed.is_initialized()


def test_half_of_the_flags_is_one_sentence():
    with pytest.raises(UserError, match=r'do not find each other: .* --process_id of its own'), \
            joined('localhost:1234', None, None):
        pass
