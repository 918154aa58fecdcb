import dataclasses
import itertools
import json
import logging
import os
import resource
import shutil
import threading
import time
from contextlib import closing, contextmanager, suppress

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.training import tiny
from vmmjax.errors import UserError
from vmmjax.training import Checkpoints, TrainState
from vmmjax.training.workdir import hold


def tiny_state(step):
    return TrainState(jnp.asarray(step, jnp.int32), {'kernel': jnp.full((64, 64), float(step))}, {}, (), None)


def saved(folder, steps=(1, 2, 3), keep=3):
    checkpoints = Checkpoints(folder, keep)
    for step in steps:
        checkpoints.save(tiny_state(step), {'seed': step})
    checkpoints.close()
    return Checkpoints(folder, keep)


def data_file(folder, step):
    """The largest file of a step: the array's values."""
    return max((folder / 'checkpoints' / str(step)).rglob('*'), key=lambda path: path.stat().st_size * path.is_file())


def half_delete(path):
    """Every second file of the step that the path belongs to, as a deletion that was killed leaves it."""
    (step,) = [parent for parent in path.parents if parent.parent.name == 'checkpoints']
    for file in sorted(file for file in step.rglob('*') if file.is_file())[::2]:
        file.unlink()


def flip(path, where=None):
    content = bytearray(path.read_bytes())
    where = len(content) // 2 if where is None else where
    content[where] ^= 1
    path.write_bytes(content)


def test_round_trip_with_meta_and_old_ones_dropped(tmp_path):
    checkpoints = saved(tmp_path, keep=2)
    assert checkpoints.newest() == 3
    assert checkpoints.meta(3)['seed'] == 3
    tiny.assert_equal(checkpoints.restore(3, tiny_state(0)), tiny_state(3))
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['2', '3']
    assert sorted(path.name for path in (tmp_path / 'manifests').iterdir()) == ['2.json', '3.json']


def test_a_part_of_the_state_can_be_restored(tmp_path):
    checkpoints = saved(tmp_path)
    found = checkpoints.restore(2, {'params': tiny_state(0).params})
    np.testing.assert_array_equal(found['params']['kernel'], 2.0)


@pytest.mark.parametrize('damage', [
    flip, lambda path: path.unlink(), lambda path: path.write_bytes(path.read_bytes()[:-1]),
    lambda path: path.write_bytes(b''), half_delete], ids=['bit', 'gone', 'short', 'empty', 'half-deleted'])
def test_damage_falls_back_to_the_newest_whole_step_and_says_so(tmp_path, caplog, damage):
    checkpoints = saved(tmp_path)
    damage(data_file(tmp_path, 3))
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest() == 2
    assert 'Using the checkpoint of step 2' in caplog.text
    assert str(tmp_path / 'checkpoints' / '3') in caplog.text


def test_every_single_flipped_bit_is_noticed(tmp_path):
    checkpoints = saved(tmp_path, steps=(1,))
    generator = np.random.default_rng(0)
    files = [path for path in (tmp_path / 'checkpoints' / '1').rglob('*') if path.is_file() and path.stat().st_size]
    for _ in range(30):
        path = files[generator.integers(len(files))]
        good = path.read_bytes()
        flip(path, generator.integers(len(good)))
        with pytest.raises(UserError, match=r'No checkpoint .* is whole'):
            checkpoints.newest()
        path.write_bytes(good)
    assert checkpoints.newest() == 1


@pytest.mark.parametrize('text', [
    '', '{', 'null', '3', '[]', '"files"', '{}', '{"files": 3}', '{"files": []}', '{"files": {}}', '{"files": null}',
    '{"files": {"a": 1}}', '{"files": {"a": [1]}}', '{"files": {"a": [1, "b", 2]}}', '\0', '{"files": {"\ud800"',
    pytest.param('[' * 100_000, id='deep')])
def test_a_manifest_of_any_other_shape_is_a_damaged_step(tmp_path, text, caplog):
    checkpoints = saved(tmp_path, steps=(1, 2))
    (tmp_path / 'manifests' / '2.json').write_bytes(text.encode(errors='surrogatepass'))
    with caplog.at_level(logging.WARNING):
        assert checkpoints.newest() == 1
    assert '2.json cannot be read' in caplog.text
    (tmp_path / 'manifests' / '1.json').write_text('{"files": {}}')
    with pytest.raises(UserError, match=r'No checkpoint .* is whole: .*it names no files'):
        checkpoints.newest()


def test_files_that_are_no_manifests_are_ignored(tmp_path):
    checkpoints = saved(tmp_path, steps=(1, 2))
    for name in ('._2.json', 'two.json', '02.json', '-2.json', '2 2.json', '\u00b2.json', '.json', '2.json.json'):
        (tmp_path / 'manifests' / name).write_text('{}')
    (tmp_path / 'checkpoints' / '._2').write_text('')
    assert checkpoints.newest() == 2
    checkpoints.discard_after(2)
    assert (tmp_path / 'checkpoints' / '._2').is_file()
    checkpoints.save(tiny_state(3), {})
    checkpoints.close()
    assert Checkpoints(tmp_path).newest() == 3


def test_swapped_steps_are_noticed(tmp_path):
    checkpoints = saved(tmp_path, steps=(1, 2), keep=2)
    for folder, suffix in (('checkpoints', ''), ('manifests', '.json')):
        one, two, aside = (tmp_path / folder / f'{name}{suffix}' for name in ('1', '2', 'aside'))
        one.rename(aside), two.rename(one), aside.rename(two)
    message = 'checkpoints/2 holds the state of step 1; give the folders and manifests back their names'
    with pytest.raises(UserError, match=message):
        checkpoints.restore(checkpoints.newest(), {'params': tiny_state(0).params})


def test_an_unsealed_save_does_not_count(tmp_path):
    checkpoints = saved(tmp_path)
    (tmp_path / 'manifests' / '3.json').unlink()
    assert checkpoints.newest() == 2
    checkpoints.discard_after(2)
    assert not (tmp_path / 'checkpoints' / '3').exists()
    (tmp_path / 'manifests' / '2.json').unlink()
    (tmp_path / 'manifests' / '1.json').unlink()
    assert checkpoints.newest() is None


def test_damaged_steps_are_kept_aside_and_training_saves_there_again(tmp_path):
    checkpoints = saved(tmp_path)
    flip(data_file(tmp_path, 3))
    checkpoints.discard_after(checkpoints.newest())
    assert (tmp_path / 'damaged' / '3').is_dir()
    checkpoints.save(tiny_state(3), {})
    checkpoints.close()
    assert Checkpoints(tmp_path).newest() == 3


def test_a_step_whose_deletion_was_killed_is_removed(tmp_path):
    checkpoints = saved(tmp_path)
    (tmp_path / 'manifests' / '1.json').unlink()
    half_delete(data_file(tmp_path, 1))
    checkpoints.discard_after(3)
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['2', '3']
    assert not (tmp_path / 'damaged').exists()


def test_saving_is_asynchronous(tmp_path):
    state = dataclasses.replace(tiny_state(1), params={'kernel': jnp.zeros((4096, 4096))})
    with closing(Checkpoints(tmp_path)) as checkpoints:
        checkpoints.save(state, {})
        assert not list((tmp_path / 'manifests').glob('*.json'))
    assert Checkpoints(tmp_path).newest() == 1


def test_the_best_stays_beside_the_newest(tmp_path):
    with closing(Checkpoints(tmp_path, keep=1)) as checkpoints:
        for step, best in ((1, 1), (2, 1), (3, 3), (4, 3), (5, 3)):
            checkpoints.save(tiny_state(step), {}, best)
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['3', '5']
    assert Checkpoints(tmp_path).newest() == 5


def test_the_newest_is_the_highest_step_whatever_the_clock_said(tmp_path):
    checkpoints = saved(tmp_path)
    for step in (1, 2, 3):
        for path in (tmp_path / 'checkpoints' / str(step), tmp_path / 'manifests' / f'{step}.json'):
            os.utime(path, (10**9 - step, 10**9 - step))
    assert checkpoints.newest() == 3


def test_another_shape_is_named(tmp_path):
    like = {'params': {'kernel': jax.ShapeDtypeStruct((64, 32), jnp.float32)}}
    with pytest.raises(UserError, match=r'params/kernel has shape \(64, 32\) in the model and \(64, 64\)'):
        saved(tmp_path).restore(3, like)


def test_a_newer_format_is_refused(tmp_path):
    checkpoints = saved(tmp_path)
    meta = tmp_path / 'checkpoints' / '3' / 'meta' / 'metadata'
    meta.write_text(json.dumps({**json.loads(meta.read_text()), 'format': 2}))
    with pytest.raises(UserError, match='has format 2, this version reads up to 1'):
        checkpoints.meta(3)


def test_a_folder_that_cannot_be_written_is_one_sentence(tmp_path):
    blocker = tmp_path / 'file'
    blocker.write_text('')
    with pytest.raises(UserError, match='cannot be written'), closing(Checkpoints(blocker)) as checkpoints:
        checkpoints.save(tiny_state(1), {})
    with pytest.raises(UserError, match='cannot be written'), hold(blocker / 'run'):
        pass


def test_two_runs_do_not_share_a_workdir(tmp_path):
    with hold(tmp_path), pytest.raises(UserError, match='Another run holds'), hold(tmp_path):
        pass
    with hold(tmp_path):
        pass


def test_a_damaged_run_trains_to_the_same_end(tmp_path):
    whole = tiny.run(tmp_path / 'whole', tiny.config())
    shutil.copytree(tmp_path / 'whole', tmp_path / 'damaged')
    flip(data_file(tmp_path / 'damaged', 20))
    tiny.assert_equal(tiny.run(tmp_path / 'damaged', tiny.config()), whole)


@contextmanager
def full_disk():
    """No file may grow: Python ignores SIGXFSZ, so that writing fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def large_state(step):
    """Too many bits for the limit, compressed or not."""
    noise = np.random.default_rng(0).standard_normal((300, 300)).astype(np.float32)
    return dataclasses.replace(tiny_state(step), params={'kernel': jnp.asarray(noise)})


QUIET = pytest.mark.filterwarnings('error::pytest.PytestUnraisableExceptionWarning')


@QUIET
def test_a_last_save_on_a_full_disk_is_one_sentence_and_older_checkpoints_stay(tmp_path):
    checkpoints = saved(tmp_path, steps=(1,))
    message = r'cannot be written to .*checkpoints.*Older checkpoints stay'
    with full_disk(), pytest.raises(UserError, match=message), closing(checkpoints):
        checkpoints.save(large_state(2), {})
    assert Checkpoints(tmp_path).newest() == 1


@pytest.mark.parametrize('said', [
    '''Failed writing: "/x/d/b4": Failed to write 94 bytes to file 30: No space left on device [os_error_code='28']''',
    '''Error opening "zarr" driver: Failed writing: "/x/d/b4": Failed to write 94 bytes to file 30: No space left on'''
    ''' device [tensorstore_spec='{"driver":"zarr"}']''',
    'Failed writing: "/x/d/b4": Failed to write 94 bytes to file 30: No space left on device',
    '''Failed to create directory: "/x/d": No space left on device [os_error_code='28']'''])
def test_what_the_disk_says_is_found_in_tensorstores_message(tmp_path, said, monkeypatch):
    def refuse(*args):
        raise ValueError(f'RESOURCE_EXHAUSTED: {said}')

    checkpoints = saved(tmp_path, steps=(1,))
    monkeypatch.setattr('vmmjax.training.manifest.write', refuse)  # While the save is being finished.
    checkpoints.save(tiny_state(2), {})
    with pytest.raises(UserError, match='checkpoints: No space left on device; make room'):
        checkpoints.close()


def test_other_value_errors_are_bugs_and_stay(tmp_path, monkeypatch):
    def refuse(*args):
        raise ValueError('the shape: [3]')

    checkpoints = saved(tmp_path, steps=(1,))
    monkeypatch.setattr('vmmjax.training.manifest.write', refuse)
    checkpoints.save(tiny_state(2), {})
    with pytest.raises(ValueError, match=r'the shape: \[3\]'):
        checkpoints.close()


def test_a_failed_save_whose_writers_go_on_is_deleted(tmp_path):
    checkpoints = saved(tmp_path, steps=(1,))
    rest = tmp_path / 'checkpoints' / '2.orbax-checkpoint-tmp'
    stopping = threading.Event()

    def write():
        for number in itertools.count():
            if stopping.is_set():
                return
            with suppress(OSError):  # A part of it was deleted in between.
                (rest / str(number % 7)).mkdir(parents=True, exist_ok=True)
                (rest / str(number % 7) / str(number)).touch()

    writer = threading.Thread(target=write)
    writer.start()
    while not rest.exists():
        time.sleep(0.01)
    threading.Timer(0.5, stopping.set).start()
    checkpoints.discard_after(1)
    writer.join()
    checkpoints.discard_after(1)
    assert not rest.exists()
    assert checkpoints.newest() == 1


@QUIET
def test_saving_goes_on_after_a_full_disk_and_it_warns(tmp_path, caplog):
    checkpoints = saved(tmp_path, steps=(1, 2), keep=2)
    with closing(checkpoints), caplog.at_level(logging.WARNING):
        with full_disk():
            for step in (3, 4, 5):
                checkpoints.save(large_state(step), {})
                assert Checkpoints(tmp_path).newest() == 2
            checkpoints.save(tiny_state(6), {})  # Waits for the one before; small enough.
        warnings = [record.getMessage() for record in caplog.records if record.name == 'vmmjax.training.checkpoint']
    assert len(warnings) == 3
    assert warnings[0].endswith('checkpoints: File too large; make room or name another --workdir. Older checkpoints '
                                'stay. Training goes on.')
    assert Checkpoints(tmp_path).newest() == 6
    assert sorted(path.name for path in (tmp_path / 'checkpoints').iterdir()) == ['2', '6']
