import jax
import jax.numpy as jnp
import numpy as np
import pytest

import vmmjax
import vmmjax.tasks
from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.media.video import stored_pictures
from vmmjax.media.writer import write_clip
from vmmjax.serving import made_video
from vmmjax.serving.made_video import spans
from vmmjax.training.objective import Context
from vmmjax.training.state import TrainState


@pytest.mark.parametrize('count', [0, 1, 3, 4, 5, 11, 12, 13])
def test_every_picture_is_in_one_span_with_what_is_around_it(count):
    seen = []
    for recent, first, last in spans(map(np.asarray, range(count)), 2, 3, 4):
        shown = [int(each) for each in recent]
        assert shown == list(range(shown[0], shown[-1] + 1))
        assert shown[0] == max(0, shown[first] - 2)
        assert shown[-1] == min(count - 1, shown[last - 1] + 3)
        assert len(shown) <= 9
        seen += shown[first:last]
    assert seen == list(range(count))


def run_of(kind, **task):
    """A run with drawn parameters."""
    config = configs.defaults()
    config.task = dict(name='video_to_video', kind=kind) | task
    config.data.store, config.data.streams = 'arrays', dict(rgb=dict(modality='rgb', frames=5, size=16))
    config.model.update(dict(encoders=dict(rgb=dict(name='residual_video', features=4, depth=1)),
                             preprocess=dict(rgb='signed')))
    clips = np.zeros((4, 5, 16, 16, 3), np.uint8)
    run = vmmjax.Experiment(config, vmmjax.ArrayStore({'train': {'rgb': clips}}, {'rgb': 2.5}))
    params = jax.eval_shape(run.init, jax.random.key(0))['params']
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    params = jax.tree.unflatten(tree, [np.asarray(jax.random.normal(key, leaf.shape)) * 0.2
                                       for key, leaf in zip(keys, leaves, strict=True)])
    run.state = TrainState(jnp.zeros((), int), params, {}, ())
    return run


@pytest.mark.parametrize('kind', ['interpolation', 'denoising'])
def test_a_file_is_made_as_it_would_be_at_once(tmp_path, kind):
    frames = np.random.default_rng(0).integers(0, 256, (21, 8, 10, 3)).repeat(2, 1).repeat(2, 2).astype(np.uint8)
    write_clip(tmp_path / 'a.mp4', frames, fps=10, quantiser=0)
    run = run_of(kind)
    made = made_video.of_file(run, tmp_path / 'a.mp4')
    found = np.stack(list(made.pictures))
    stored = np.stack(list(stored_pictures(tmp_path / 'a.mp4')))
    whole = np.asarray(jax.jit(lambda clip: run.task.made(Context(run.apply, run.state.params, {}, {'rgb': clip})))(
        stored[None]))[0]
    if kind == 'interpolation':
        assert made.fps == 20
        np.testing.assert_array_equal(found[::2], stored)
        found = found[1::2]
    else:
        assert made.fps == 10
    assert found.shape == whole.shape
    assert np.abs(found.astype(int) - whole).max() <= 1  # Sums in another order may round otherwise.
    assert np.abs(found.astype(int) - stored[:len(found)]).mean() > 1


def test_what_does_not_go(tmp_path):
    write_clip(tmp_path / 'a.mp4', np.zeros((1, 16, 16, 3), np.uint8), fps=10)
    run = run_of('interpolation')
    assert len(list(made_video.of_file(run, tmp_path / 'a.mp4').pictures)) == 1  # There is nothing between one.
    run.task = vmmjax.tasks.create(configs.defaults())
    with pytest.raises(UserError, match='classification, which makes no video'):
        made_video.of_file(run, tmp_path / 'a.mp4')
