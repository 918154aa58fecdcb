import dataclasses
import json
import logging
import resource
import shutil
from contextlib import closing

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
    lambda path: path.write_bytes(b'')], ids=['bit', 'gone', 'short', 'empty'])
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
    with pytest.raises(UserError, match='cannot be written'):
        Checkpoints(blocker).save(tiny_state(1), {})
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


def test_a_full_disk_is_one_sentence_and_older_checkpoints_stay(tmp_path):
    checkpoints = saved(tmp_path, steps=(1,))
    generator = np.random.default_rng(0)
    noise = generator.standard_normal((300, 300)).astype(np.float32)  # Too many bits for the limit, compressed or not.
    large = dataclasses.replace(tiny_state(2), params={'kernel': jnp.asarray(noise)})
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, before[1]))  # Python ignores SIGXFSZ: writing fails.
    try:
        message = r'cannot be written to .*checkpoints.*Older checkpoints stay'
        with pytest.raises(UserError, match=message), closing(checkpoints):
            checkpoints.save(large, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert Checkpoints(tmp_path).newest() == 1
