import json
import signal
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import ROOT, TOY, environment, refused, started, vmmjax
from tests.training import processes
from vmmjax.training import Checkpoints
from vmmjax.training.workdir import hold


def logged(workdir, name):
    path = workdir / 'log.jsonl'
    lines = [json.loads(line) for line in path.read_text().split('\n')[:-1]] if path.is_file() else []
    return {line['step']: line for line in lines if name in line}


def by_two(folder, *arguments):
    """Starts two processes with two devices each on one command; what they say goes to files in the folder."""
    address = f'--coordinator=localhost:{processes.free_port()}'
    both = []
    for process in (0, 1):
        with (folder / f'said{process}').open('w') as said:
            both.append(started(*arguments, address, '--num_processes=2', f'--process_id={process}', stdout=said,
                                stderr=said, env=environment() | {
                                    'XLA_FLAGS': '--xla_force_host_platform_device_count=2'}))
    return both


def ended(folder, both):
    """What the two said, when they have ended well."""
    statuses = [process.wait(200) for process in both]
    outputs = [(folder / f'said{process}').read_text() for process in (0, 1)]
    assert statuses == [0, 0], outputs
    return outputs


@pytest.mark.slow
def test_two_processes_stop_together_go_on_and_measure_what_one_does(tmp_path, store, trained):
    run = tmp_path / 'run'
    training = ('train', TOY, f'--workdir={run}', f'--config.data.store={store}', '--config.mesh.fsdp=2')
    both = by_two(tmp_path, *training)
    deadline = time.monotonic() + 200
    while max(logged(run, 'train/loss'), default=0) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    both[1].send_signal(signal.SIGTERM)
    outputs = ended(tmp_path, both)
    stopped = Checkpoints(run).newest()
    assert f'Stopped at step {stopped} of 30 by SIGTERM. The same command goes on from there.' in outputs[0]
    assert outputs[1].count('step') == 0

    ended(tmp_path, by_two(tmp_path, *training))
    two, one = logged(run, 'train/loss'), logged(trained, 'train/loss')
    assert sorted(two) == list(range(1, 31))
    for step in (1, 2, 3):  # The same clips; later float32 sums drift.
        assert two[step]['train/loss'] == pytest.approx(one[step]['train/loss'], rel=1e-4)

    # Rows are padded to whole batches on two processes, and counted once.
    ended(tmp_path, by_two(tmp_path, 'evaluate', f'--workdir={run}', '--split=test'))
    both = json.loads((run / 'eval' / 'test.json').read_text())
    found = vmmjax('evaluate', f'--workdir={run}', '--split=test', '--num_processes=1')
    assert found.returncode == 0, found.stderr
    alone = json.loads((run / 'eval' / 'test.json').read_text())
    assert alone['examples'] == 21
    assert alone['metrics'].pop('loss') == pytest.approx(both['metrics'].pop('loss'), rel=1e-6)
    machines = [result['cost'].pop('machine').split(':')[0] for result in (alone, both)]
    assert machines == ['1 x cpu', '4 x cpu']
    assert alone == both


def test_a_second_run_on_a_workdir_is_refused(tmp_path, store):
    with hold(tmp_path):
        line = refused('train', TOY, f'--workdir={tmp_path}', f'--config.data.store={store}')
    assert 'Another run holds the workdir' in line


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_moment_ends_as_an_undisturbed_one(store):
    found = subprocess.run(
        [sys.executable, ROOT / 'scripts' / 'chaos.py', '--seed=1', '--kills=3', '--early=1', '--saves=1',
         '--restores=1', '--anew=1', '--failures=1', '--flips=50', '--steps=30', f'--store={store}'],
        cwd=ROOT, env=environment(), text=True, capture_output=True, check=False, timeout=600)
    assert found.returncode == 0, found.stdout + found.stderr
    assert '| of them different from the undisturbed run | 0 |' in found.stdout
    assert '| of them restored silently | 0 |' in found.stdout
