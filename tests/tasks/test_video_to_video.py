"""Pictures made of pictures, 5 frames of 10 x 12."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.ndimage import uniform_filter

from tests.tasks import asked
from tests.tasks.resumed import assert_goes_on_bit_for_bit
from vmmjax import config as configs
from vmmjax import tasks
from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.models.residual_video import Correction, folded
from vmmjax.tasks.video_baselines import filter_errors, filter_moments, neighbourhood
from vmmjax.training import Player, Players, make_train_step
from vmmjax.training.state import initializer

ROWS, QUICK = 4, {'xla_backend_optimization_level': 0}


def settings(encoder=None, frames=5, **task):
    config = configs.defaults()
    config.task = dict(name='video_to_video') | task
    config.data.streams = dict(rgb=dict(modality='rgb', frames=frames))
    config.model.update(dict(encoders=dict(rgb=encoder or dict(name='residual_video', features=8, depth=1)),
                             preprocess=dict(rgb='signed')))
    return config


def clips(seed=0):
    draw = np.random.default_rng(seed)
    # Smooth pictures that move by two pixels a frame.
    wide = np.repeat(np.repeat(draw.integers(0, 256, (ROWS, 5, 10, 3)), 2, 1), 2, 2)
    rgb = np.stack([wide[:, :, 2 * frame:2 * frame + 12] for frame in range(5)], 1).astype(np.uint8)
    valid = np.arange(5) < np.array([5, 5, 4, 5])[:, None]
    return {'rgb': rgb, 'valid/rgb': valid, 'present/rgb': np.array([1, 1, 1, 0], bool),
            'mask': np.ones(ROWS, np.float32), 'id': np.arange(ROWS, dtype=np.int32),
            'row': np.arange(ROWS, dtype=np.int32)}


class Setup(asked.Built):
    def __init__(self, config):
        super().__init__(config, clips())
        self.draw()
        self.encoder = self.model.encoders['rgb']

    def ctx(self, batch, params=None, step=None):
        return super().ctx(batch, params, step)

    def compiled(self, what):
        return jax.jit(what, compiler_options=QUICK)


@pytest.fixture(scope='module')
def between():
    return Setup(settings())


@pytest.fixture(scope='module')
def noisy():
    return Setup(settings(kind='denoising', sigma=20.0))


def test_squares_of_pixels_come_back():
    x = jnp.arange(2 * 1 * 4 * 6 * 3.0).reshape(2, 1, 4, 6, 3)
    maps = folded(x)
    assert maps.shape == (2, 1, 2, 3, 12)
    # A correction whose last layer gives its input back would give the pictures back: the order is the same.
    net = Correction()
    nothing = jax.tree.map(jnp.zeros_like, net.init(jax.random.key(0), maps, x)['params'])
    def with_ones(*names):
        return {**nothing, **{name: dict(nothing[name], kernel=nothing[name]['kernel'].at[-2 if name == 'filter' else 0,
                                                                                         1, 1].set(jnp.eye(12)))
                              for name in names}}

    for params in (with_ones('hidden', 'output'), with_ones('filter')):
        np.testing.assert_array_equal(net.apply({'params': params}, maps, x), x)


def test_an_untrained_network_gives_the_mean_of_the_neighbours(between):
    rows = clips()
    scores = between.compiled(lambda batch: between.task.compute(between.ctx(batch)))(rows)
    np.testing.assert_allclose(scores['made'], scores['mean'], rtol=1e-2)
    np.testing.assert_array_equal(scores['made'][:, 1], [2, 2, 1, 0])  # A frame counts that has two valid neighbours.
    x = rows['rgb'].astype(float)
    mean = np.rint((x[:, [0, 2]] + x[:, [2, 4]]) / 2)  # Halves are to even, as in JAX.
    error = np.square((mean - x[:, 1::2]) / 255).mean((2, 3, 4))
    np.testing.assert_allclose(scores['mean'][:2, 0], error[:2].sum(1), rtol=2e-2)
    repeated = np.square((x[:, [0, 2]] - x[:, 1::2]) / 255).mean((2, 3, 4))
    np.testing.assert_allclose(scores['repeated'][:2, 0], repeated[:2].sum(1), rtol=1e-5)


def test_hidden_frames_are_not_seen(between):
    changed = clips()
    changed['rgb'][:, 1::2] = 7
    made = between.compiled(lambda batch: between.task._made(between.ctx(batch), between.task._asked(
        between.ctx(batch))[1])[0])
    np.testing.assert_array_equal(made(clips()), made(changed))


def test_noise_is_of_the_clip_and_the_stated_deviation(noisy):
    rows = clips()
    rows['rgb'][:] = 128
    seen = noisy.compiled(lambda batch: noisy.task._asked(noisy.ctx(batch))[1]['rgb'])
    first, turned = seen(rows), seen(jax.tree.map(lambda x: x[::-1], rows))
    np.testing.assert_array_equal(turned[::-1], first)
    assert first.dtype == jnp.uint8
    assert np.std(np.asarray(first, float) - 128) == pytest.approx(20, rel=0.03)
    assert np.abs(np.asarray(first[0], int) - np.asarray(first[1], int)).max() > 20


def test_the_best_filter_is_that_of_least_squares(noisy):
    draw = np.random.default_rng(0)
    x, truth = draw.uniform(size=(3, 4, 5, 6, 2)), draw.uniform(size=(3, 4, 5, 6, 2))
    counted = np.arange(4) < np.array([4, 2, 0])[:, None]
    around = neighbourhood(jnp.asarray(x), jnp.asarray(counted))
    np.testing.assert_allclose(around[..., 13], x * counted[..., None, None, None] + np.stack(
        [each[max(count - 1, 0)] * ~kept[:, None, None, None] for each, kept, count in
         zip(x, counted, counted.sum(1), strict=True)]), rtol=1e-6)
    np.testing.assert_allclose(around[0, 1, 2, 3, 1, 0], x[0, 0, 1, 2, 1], rtol=1e-6)
    np.testing.assert_allclose(around[0, 0, 0, 0, 1, 0], x[0, 0, 0, 0, 1], rtol=1e-6)
    found = filter_errors(np.asarray(filter_moments(around, jnp.asarray(truth), jnp.asarray(counted)), np.float64))
    rows = np.asarray(around)[counted].reshape(-1, 27)
    rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)
    weights = np.linalg.lstsq(rows, truth[counted].reshape(-1), rcond=None)[0]
    residuals = np.square(rows @ weights - truth[counted].reshape(-1)).reshape(-1, 60).mean(1)
    np.testing.assert_allclose(found[:2], [residuals[:4].mean(), residuals[4:].mean()], rtol=1e-4)
    assert np.isnan(found[2])


@pytest.mark.parametrize('kind', ['interpolation', 'denoising'])
def test_measures(between, noisy, kind):
    one = {'interpolation': between, 'denoising': noisy}[kind]
    rows = clips()
    scores = jax.tree.map(np.asarray, one.compiled(lambda batch: one.task.compute(one.ctx(batch)))(rows))
    found = Predictions(rows['id'], {}, scores, {'rgb': rows['present/rgb']})
    figures = one.task.summary(found)
    strongest = {'interpolation': 'psnr_mean', 'denoising': 'psnr_filter'}[kind]
    assert list(figures)[:2] == ['psnr', 'gain']
    assert list(figures)[-1] == 'loss'
    assert figures['gain'] == pytest.approx(figures['psnr'] - figures[strongest])
    assert one.task.chance(found)['psnr'] == figures[strongest]
    assert np.isnan(one.task.per_clip(found)['psnr'][0][3])
    if kind == 'denoising':
        assert figures['psnr_filter'] > figures['psnr_noisy']
    perfect = found._replace(scores={**scores, 'made': scores['made'] * np.array([0, 1])})
    assert one.task.summary(perfect)['psnr'] == 100
    with pytest.raises(UserError, match='nothing to make'):
        one.task.summary(found._replace(scores=jax.tree.map(lambda x: 0 * x, scores)))


@pytest.mark.parametrize('kind', ['interpolation', 'denoising'])
def test_panels_are_pictures_of_one_size(between, noisy, kind):
    one = {'interpolation': between, 'denoising': noisy}[kind]
    panels = one.compiled(lambda batch: one.task.panels(one.ctx(batch)))(clips())['rgb']
    assert {(each.shape, each.dtype.name) for each in panels.values()} == {((ROWS, 5, 10, 12, 3), 'uint8')}
    np.testing.assert_array_equal(panels['truth'], clips()['rgb'])
    if kind == 'denoising':  # Untrained it is the mean of the neighbours, of grey outside of the clip.
        mean = uniform_filter(np.asarray(panels['noisy'], float) - 127.5, (1, 3, 3, 3, 1), mode='constant') + 127.5
        np.testing.assert_allclose(panels['made'], mean, atol=0.6)


def test_panels_hold_the_neighbours_of_one_clip_at_a_time(noisy):
    many = jax.tree.map(lambda x: np.repeat(x, 8, 0), clips())
    found = noisy.compiled(lambda batch: noisy.task.panels(noisy.ctx(batch))).lower(many).compile()
    assert found.memory_analysis().temp_size_in_bytes < 27 * 4 * many['rgb'].size  # Twice it at once.


@pytest.mark.slow
@pytest.mark.parametrize('kind', ['interpolation', 'denoising'])
def test_it_learns_more_than_a_baseline(kind):
    encoder = dict(name='residual_video', features=16, depth=1)
    one, players = Setup(settings(encoder, kind=kind)), Players(Player(optax.adam(3e-3)))
    step = jax.jit(make_train_step(one.apply, one.task, players, seed=0))
    state = one.compiled(initializer(one.init, players))(jax.random.key(0))
    losses = []
    for number in range(100):
        batch = clips(number)
        if kind == 'denoising':
            batch['rgb'][:] = batch['rgb'][:, :, :1, :1]  # One colour, which noise hides.
        state, metrics = step(state, batch)
        losses.append(float(metrics['loss']))
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:3])


@pytest.mark.slow
def test_microbatches_have_the_same_gradient(noisy):
    players = Players(Player(optax.sgd(1.0)))
    state = noisy.compiled(initializer(noisy.init, players))(jax.random.key(0))
    one, many = (jax.jit(make_train_step(noisy.apply, noisy.task, players, seed=0, microbatches=parts),
                         compiler_options=QUICK)(state, clips()) for parts in (1, 2))
    np.testing.assert_allclose(many[1]['loss'], one[1]['loss'], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), many[0].params, one[0].params)


@pytest.mark.parametrize(('change', 'message'), [
    (dict(kind='interpolate'), "did you mean 'interpolation'"), (dict(kind='denoising', sigma=0.0), 'sigma is 0'),
    (dict(stream='rgbs'), "no encoder: did you mean 'rgb'"), (dict(frames=2), 'at least 3')])
def test_what_a_config_gets_wrong(change, message):
    with pytest.raises(UserError, match=message):
        tasks.create(settings(**change))


def test_an_encoder_without_maps():
    with pytest.raises(UserError, match='keeps no maps'):
        Setup(settings(encoder=dict(name='tdnn')))


def test_a_stream_that_holds_no_pictures(between):
    with pytest.raises(UserError, match='stream of pictures is meant'):
        between.task.loss(between.ctx({**clips(), 'rgb': np.zeros((ROWS, 5, 10), np.float32)}))
    with pytest.raises(UserError, match='no such stream'):
        dataclasses.replace(between.task, stream='flow').loss(between.ctx(clips()))


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, noisy):
    assert_goes_on_bit_for_bit(tmp_path, apply=noisy.apply, init=noisy.init, task=noisy.task, clips=clips)
