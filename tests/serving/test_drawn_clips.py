import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vmmjax
from tests.tasks.test_adversarial import settings
from vmmjax import config as configs
from vmmjax import tasks
from vmmjax.errors import UserError
from vmmjax.serving import drawn_clips
from vmmjax.training.state import TrainState


@pytest.fixture(scope='module')
def run():
    """A run with drawn parameters, of clips 4 x 8 x 8."""
    config = settings()
    config.data.store, config.data.streams.rgb = 'arrays', dict(modality='rgb', frames=4, size=8)
    config.data.window.seconds, config.batch_size = 0.4, 4
    rgb = 40 * np.arange(6, dtype=np.uint8)[:, None, None, None, None] * np.ones((1, 4, 8, 8, 3), np.uint8)
    labels = ['dark', 'light'] * 3
    columns = {'rgb': rgb, 'label': labels}
    store = vmmjax.ArrayStore({'train': columns, 'test': columns}, {'rgb': 10.0})
    found = vmmjax.Experiment(config, store)
    params = jax.jit(found.init, compiler_options={'xla_backend_optimization_level': 0})(jax.random.key(0))['params']
    found.state = TrainState(jnp.zeros((), int), params, {}, ())
    return found


def test_a_clip_depends_on_the_seed_and_its_place(run):
    clips, names = drawn_clips.draw(run, 5, seed=3, batch_size=2)
    assert clips.shape == (5, 4, 8, 8, 3)
    assert clips.dtype == np.uint8
    assert names == ['dark', 'light', 'dark', 'light', 'dark']
    more, _ = drawn_clips.draw(run, 7, seed=3, batch_size=7)
    assert np.abs(more[:5].astype(int) - clips).max() <= 1
    others, names = drawn_clips.draw(run, 5, seed=4, classes=['light'])
    assert names == ['light'] * 5
    assert np.abs(others.astype(int) - clips).max() > 1
    with pytest.raises(UserError, match="did you mean 'light'"):
        drawn_clips.draw(run, 1, classes=['lights'])


def test_real_clips_are_those_of_a_split(run):
    clips, names = drawn_clips.real(run, 'test', 5)
    np.testing.assert_allclose(clips[:, 0, 0, 0, 0], 40 * np.arange(5), atol=2)
    assert names == ['dark', 'light', 'dark', 'light', 'dark']
    assert drawn_clips.rate(run) == 10


def test_a_grid():
    clips = np.arange(3, dtype=np.uint8)[:, None, None, None, None] + np.ones((1, 2, 4, 6, 3), np.uint8)
    found = drawn_clips.grid(clips, 2)
    assert found.shape == (2, 8, 12, 3)
    assert found[0, ::4, ::6, 0].tolist() == [[1, 2], [3, 0]]


@pytest.mark.parametrize(('count', 'height', 'width', 'wanted', 'found'), [
    (1024, 36, 36, 2, 4), (910, 36, 36, 2, 2), (911, 36, 36, 2, 4), (3, 36, 36, 16, 3), (1, 48, 64, 1, 1),
    (5, 48, 64, 3, 3)])
def test_as_many_columns_as_a_video_needs(count, height, width, wanted, found):
    assert drawn_clips.columns(count, height, width, wanted) == found


def test_more_clips_than_a_video_holds():
    with pytest.raises(UserError, match=r'65537 clips of 64 x 64 .* 16384'):
        drawn_clips.columns(65537, 64, 64, 256)


def test_a_run_of_another_task(run):
    run.task, kept = tasks.create(configs.defaults()), run.task
    with pytest.raises(UserError, match='classification, which draws no clips'):
        drawn_clips.draw(run, 1)
    run.task = kept


def test_a_folder_of_clips_is_whole_or_not_there(tmp_path):
    clips, names = np.zeros((2, 3, 8, 8, 3), np.uint8), ['left', 'up']
    drawn_clips.write(tmp_path / 'whole', clips, names, fps=5, side=2, quantiser=18)
    assert sorted(path.name for path in (tmp_path / 'whole').iterdir()) == ['00000_left.mp4', '00001_up.mp4']
    with pytest.raises(UserError, match='cannot be written'):
        # No file system takes such a name.
        drawn_clips.write(tmp_path / 'half', clips, ['left', 'up' * 200], fps=5, side=2, quantiser=18)
    with pytest.raises(UserError, match='cannot be written'):
        drawn_clips.write(tmp_path / f'{"x" * 300}.npy', clips, names, fps=5, side=2, quantiser=18)
    assert [path.name for path in tmp_path.iterdir()] == ['whole']
