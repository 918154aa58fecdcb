import functools
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest

from tests import fakes
from tests.cli.conftest import started, vmmjax
from vmmjax.cli import flow
from vmmjax.ops.tv_l1 import tv_l1
from vmmjax.pipeline import inputs
from vmmjax.prepare import columns, sources
from vmmjax.prepare.file_store import FileStore
from vmmjax.prepare.sources import synthetic
from vmmjax.store.store import Store


@pytest.fixture(scope='module')
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fakes.write_source(tmp_path_factory.mktemp('source'), {'train': 3, 'test': 2})


_prepare = functools.partial(vmmjax, 'prepare')


def test_files_to_a_store_and_again(manifest: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    (manifest.parent / '001.mp4').write_bytes(b'')
    label = fakes.LABELS[0]
    manifest.write_text(manifest.read_text().replace(f'003.mp4,test,{label}', f'003.mp4,test,{label.upper()}'))
    arguments = (f'--source={manifest}', f'--store={store}', '--columns=rgb,tests.fakes:Ramp', '--fps=10',
                 '--short_side=24', '--processes=1')
    first = _prepare(*arguments)
    assert first.returncode == 0, first.stderr
    assert '4 clips, prepared rgb, ramp' in first.stdout
    assert f'1 could not be read: see {store}/rejected.csv' in first.stdout
    assert 'which differ in case or blanks alone' in first.stdout
    assert 'rgb, ramp: 100%' in first.stderr
    assert list(Store(store).columns) == ['ramp', 'rgb']
    again = _prepare(*arguments)
    assert 'nothing was done again' in again.stdout
    other = _prepare(*arguments, '--short_side=20')
    assert other.returncode == 2
    assert 'was prepared with short_side=24, not 20' in other.stderr
    assert 'Traceback' not in other.stderr


def test_synthetic_files_stand_beside_the_store(tmp_path: Path) -> None:
    done = _prepare('--source=synthetic:motion_sound', f'--store={tmp_path}/store', '--columns=rgb', '--processes=1',
                   '--short_side=48', '--seed=3', '--sizes=train=8,test=8')
    assert done.returncode == 0, done.stderr
    assert (tmp_path / 'store_files' / 'manifest.csv').is_file()
    store = Store(tmp_path / 'store')
    assert store.splits == {'train': range(0, 8), 'test': range(8, 16)}
    assert len(store.classes('label')) == 8
    np.testing.assert_array_equal(store.columns['rgb'].lengths, 50)


@pytest.mark.slow
def test_motion_by_a_chosen_algorithm_and_no_other(manifest: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    arguments = (f'--source={manifest}', f'--store={store}', '--columns=flow', '--fps=10', '--short_side=18',
                 '--processes=2')
    made = _prepare(*arguments, '--flow=tv_l1_jax')
    assert made.returncode == 0, made.stderr
    options = json.loads((store / 'flow' / 'column.json').read_text())['options']
    assert options == {'fps': 10, 'short_side': 18, 'flow': 'tv_l1_jax', 'flow_on': 'resized'}
    column = Store(store).columns['flow']
    assert column.sizes[0].tolist() == [18, 24]
    assert column.builder == 'vmmjax.cli.flow:Flow'
    files = FileStore(inputs.describe(Store(store), {'streams': {'flow': {'modality': 'flow'}}}),
                      sources.read(str(manifest)))
    everything = np.arange(column.offsets[-1])
    assert files.columns['flow'].records(everything) == column.records(everything)
    other = _prepare(*arguments, '--flow=dis')
    assert other.returncode == 2
    assert 'was prepared with flow=tv_l1_jax, not dis' in other.stderr
    assert 'Traceback' not in other.stderr


def test_motion_by_jax_takes_blocks_of_any_length(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flow, '_prepare_jax', lambda: None)  # It is for processes of its own.
    grey = np.random.default_rng(0).integers(0, 256, (6, 17, 18), np.uint8)
    one_by_one = flow.tv_l1_jax(grey)
    np.testing.assert_array_equal(one_by_one, tv_l1(grey[:-1], grey[1:]))
    assert flow.tv_l1_jax(grey[:1]).shape == (0, 17, 18, 2)


@pytest.mark.parametrize(('arguments', 'said'), [
    (['--source=nothing.csv'], 'nothing.csv'),
    (['--source=synthetic:motion_sond'], "did you mean 'motion_sound'"),
    (['--source=synthetic:motion_sound', '--sizes=train'], '--sizes'),
    (['--source=tests', '--sizes=train=3'], 'for synthetic sources'),
    (['--source=tests', '--columns=rbg'], "did you mean 'rgb'"),
    (['--source=tests', '--fps=0'], 'fps'),
    (['--source=tests', '--columns=flow', '--flow=tvl1'], "did you mean 'tv_l1'"),
    ([], 'source'),
    (['--source=tests', '--workers=2'], 'the processes of this machine are --processes'),
    (['--source=tests', '--worker=2', '--workers=2'], 'no share'),
    (['--source=tests', '--worker=0', '--workers=2', '--force'], '--force does not go with --workers'),
    (['--source=tests', '--runner_options=--x=1'], 'for --runner, which is missing'),
])
def test_bad_input_is_one_sentence(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = _prepare(f'--store={tmp_path}/store', *arguments)
    assert done.returncode == 2
    assert said in done.stderr
    assert 'Traceback' not in done.stderr
    assert not (tmp_path / 'store').exists()


@pytest.mark.slow
def test_workers_share_a_store_and_a_damaged_shard_is_named_and_made_again(manifest: Path, tmp_path: Path) -> None:
    store = tmp_path / 'store'
    arguments = (f'--source={manifest}', f'--store={store}', '--columns=tests.fakes:Ramp', '--processes=1')
    first = _prepare(*arguments, '--worker=1', '--workers=2')
    assert first.returncode == 0, first.stderr
    assert 'ramp is completed by the last of the others' in first.stdout
    assert 'clips, prepared ramp' in _prepare(*arguments, '--worker=0', '--workers=2').stdout
    assert '2 shards of 1 columns are whole' in _prepare(f'--store={store}', '--verify').stdout
    shard = store / 'ramp' / 'ramp-train.array_record-00000-of-00001'
    before = shard.read_bytes()
    shard.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    broken = _prepare(f'--store={store}', '--verify')
    assert broken.returncode == 2
    assert f'ramp/{shard.name} has another content' in broken.stderr
    assert 'Traceback' not in broken.stderr
    assert '1 damaged shards were made again' in _prepare(*arguments, '--verify').stdout
    assert shard.read_bytes() == before
    assert 'clips, prepared ramp' in _prepare(*arguments, '--force').stdout


def test_help_shows_two_examples_and_the_flags() -> None:
    shown = _prepare('--help').stdout
    assert shown.count('vmmjax prepare --source') >= 2
    for flag in ('source', 'store', 'columns', 'fps', 'short_side', 'audio_rate', 'hop_ms', 'bands', 'seed', 'sizes',
                 'processes', 'worker', 'workers', 'runner', 'runner_options', 'force', 'verify', 'files'):
        assert f'--{flag}' in shown
    # It says again what the library has, without importing it.
    for names in (sources.ANNOTATIONS, columns.COLUMNS, flow.Flow.algorithms):
        assert ', '.join(names) in shown
    sizes = ','.join(f'{split}={clips}' for split, clips in synthetic.SIZES.items())
    for flag, default in (('fps', columns.Flow.fps), ('short_side', columns.Flow.short_side), ('sizes', sizes),
                          ('flow', flow.Flow.flow), ('flow_on', flow.Flow.flow_on)):
        assert re.search(rf'--{flag}: .* \(default: {re.escape(str(default))}\)\n', shown)


@pytest.mark.slow
def test_a_run_killed_at_every_stage_ends_with_the_same_bytes(store: Path, tmp_path: Path) -> None:
    """kill -9 while files are made, in the middle of the pictures and of the sound, then the same command again."""
    again = tmp_path / 'again'
    arguments = ('prepare', '--source=synthetic:motion_sound', f'--store={again}', '--columns=rgb,audio',
                 '--short_side=32', '--fps=6.25', '--sizes=train=40,validation=12,test=21', '--processes=1')
    stages = [tmp_path / 'again_files' / 'clips', again / 'rgb', again / 'audio']
    for stage in stages:
        process = started(*arguments)
        while not any(stage.glob('[!.]*' if stage.name == 'clips' else '*array_record*')):
            assert process.poll() is None, f'the run ended before it was killed in {stage.name}'
            time.sleep(0.002)
        process.kill()
        process.wait()
    finished = vmmjax(*arguments)
    assert finished.returncode == 0, finished.stderr
    assert 'prepared' in finished.stdout

    def contents(folder: Path) -> dict[str, bytes]:
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob('*') if path.is_file()}

    expected, found = contents(store), contents(again)
    assert expected.keys() == found.keys()
    assert all(expected[name] == found[name] for name in expected)
