import json
import shlex
import signal
import subprocess
import time

import pytest

from tests.cli.conftest import TOY, refused, started, vmmjax

GRID = '--grid=model.fusion.name=concat,conct'


@pytest.fixture(scope='module')
def ablation(tmp_path_factory, store):
    """An ablation one of whose two rows cannot be built: its folder, arguments and what it said.

    It believes to be one of two workers that `srun` has started, whose runs must not wait for each other.
    """
    folder = tmp_path_factory.mktemp('ablation') / 'fusions'
    arguments = [TOY, GRID, f'--workdir={folder}', f'--config.data.store={store}', '--config.steps=4']
    with pytest.MonkeyPatch.context() as patch:
        for name, value in dict(JOB_ID=7, NTASKS=2, PROCID=1, LOCALID=1, STEP_NODELIST='localhost').items():
            patch.setenv(f'SLURM_{name}', str(value))
        return folder, arguments, vmmjax('ablate', *arguments)


@pytest.mark.slow
def test_a_row_that_fails_does_not_stop_the_others(ablation):
    folder, _, found = ablation
    assert found.returncode == 2
    assert "1 of 2 runs failed" in found.stderr
    assert "did you mean 'concat'" in found.stderr
    assert 'Traceback' not in found.stderr
    table = (folder / 'table.md').read_text()
    assert '| fusion.name=concat |' in table
    assert 'seed0 failed' in table
    assert "There is no fusion 'conct'" in table
    assert str(folder) not in table
    assert table in found.stdout
    result = json.loads((folder / 'fusion.name=concat' / 'seed0' / 'eval' / 'test.json').read_text())
    assert result['step'] == 4
    assert f'| fusion.name=concat | {100 * result["metrics"]["accuracy"]:.1f} |' in table


@pytest.mark.slow
def test_the_same_command_keeps_what_is_finished_and_tries_again_what_failed(ablation):
    folder, arguments, _ = ablation
    log = folder / 'fusion.name=concat' / 'seed0' / 'log.jsonl'
    before = log.stat().st_mtime_ns
    again = (folder / 'fusion.name=conct' / 'seed0' / 'ablate.log').stat().st_size
    found = vmmjax('ablate', *arguments)
    assert found.returncode == 2
    assert log.stat().st_mtime_ns == before
    assert (folder / 'fusion.name=conct' / 'seed0' / 'ablate.log').stat().st_size > again


@pytest.mark.slow
def test_a_dry_run_prints_the_commands(ablation):
    _, arguments, _ = ablation
    found = vmmjax('ablate', *arguments, '--dry_run')
    assert found.returncode == 0, found.stderr
    lines = found.stdout.splitlines()
    assert lines[0] == '# fusion.name=concat, seed0 (finished)'
    assert lines[1].startswith('vmmjax train --config=')
    assert '--array=0-1' in lines[-3]
    assert "--workers=2 --worker=$SLURM_ARRAY_TASK_ID'" in lines[-3]
    # A shell makes one job a worker of it, with the command as it was given.
    said = subprocess.run(['bash', '-c', f'xpk() {{ printf "%s\\n" "$@"; }}; {lines[-1]}'], text=True,
                          capture_output=True, check=True).stdout.splitlines()
    commands = [line.removeprefix('--command=') for line in said if line.startswith('--command=')]
    assert [shlex.split(command)[-1] for command in commands] == ['--worker=0', '--worker=1']
    assert [shlex.split(command)[:-2] for command in commands] == [['vmmjax', 'ablate', *arguments]] * 2


@pytest.mark.slow
def test_a_folder_of_another_config_is_refused(ablation):
    _, arguments, _ = ablation
    message = refused('ablate', *arguments, '--config.batch_size=4')
    assert 'batch_size was 8, is 4' in message


@pytest.mark.parametrize(('arguments', 'message'), [
    ([TOY], "Give either --grid='key=value,value' or --rows=file.py"),
    ([TOY, GRID, '--folds=a'], 'are no numbers'),
    (['--rows=nowhere.py'], 'nowhere.py is not there'),
    ([GRID], 'names no config'),
])
def test_what_a_user_gets_wrong_is_one_sentence(tmp_path, arguments, message):
    assert message in refused('ablate', *arguments, f'--workdir={tmp_path}')
    assert not list(tmp_path.iterdir())


def test_folds_that_the_catalog_does_not_name_are_refused(tmp_path, store):
    message = refused('train', TOY, f'--workdir={tmp_path}', f'--config.data.store={store}', '--config.data.fold=1')
    assert "has no column 'fold'" in message


@pytest.mark.slow
def test_a_run_that_was_stopped_goes_on(tmp_path, store):
    arguments = ['ablate', TOY, '--grid=streams=rgb', f'--workdir={tmp_path}', f'--config.data.store={store}']
    folder = tmp_path / 'streams=rgb' / 'seed0'
    process = started(*arguments)
    while not list(folder.glob('manifests/*')):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 128 + signal.SIGTERM
    assert not (folder / 'eval').exists()
    found = vmmjax(*arguments)
    assert found.returncode == 0, found.stderr
    assert 'Going on from step' in (folder / 'ablate.log').read_text()
    assert '| streams=rgb |' in found.stdout


@pytest.mark.slow
def test_what_others_only_begin_with_has_no_line_in_the_table(tmp_path, store):
    text = f"""
config = 'tests/cli/toy_config.py'
changes = {{'data.store': '{store}', 'steps': 4}}
QUESTION = 'Does contrast help?'
ROWS = dict(
    pretrained=dict(config=config, pretraining=True,
                    changes={{**changes, 'data.parts': (),
                             'task': dict(name='contrastive', streams=('audio', 'rgb'))}}),
    scratch=dict(config=config, changes=changes),
    transferred=dict(config=config, changes={{**changes, 'init_from.skip': ('head', 'fusion')}}, begin=('pretrained',)))
"""
    (tmp_path / 'rows.py').write_text(text)
    found = vmmjax('ablate', f'--rows={tmp_path / "rows.py"}', f'--workdir={tmp_path / "out"}')
    assert found.returncode == 0, found.stdout + found.stderr
    lines = (tmp_path / 'out' / 'table.csv').read_text().splitlines()
    assert list(dict.fromkeys(line.split(',')[0] for line in lines[1:])) == ['scratch', 'transferred']
    assert 'pretrained' not in (tmp_path / 'out' / 'table.md').read_text()
    assert 'recall1_audio_to_rgb' in (tmp_path / 'out' / 'pretrained' / 'seed0' / 'eval' / 'test.json').read_text()
    log = (tmp_path / 'out' / 'transferred' / 'seed0' / 'ablate.log').read_text()
    assert str(tmp_path / 'out' / 'pretrained' / 'seed0') in log
