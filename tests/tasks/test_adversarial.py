"""Drawn clips against real ones, 4 frames of 8 x 8 of two classes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.tasks.resumed import assert_goes_on_bit_for_bit
from vmmjax import config as configs
from vmmjax import models, tasks
from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.models.video_gan import VideoGenerator
from vmmjax.tasks import adversarial
from vmmjax.training import Player, Players, make_train_step
from vmmjax.training.objective import Context
from vmmjax.training.state import TrainState, initializer

ROWS, QUICK = 6, {'xla_backend_optimization_level': 0}
PLAYERS = dict(generator=dict(params=('^task/',), ema_decay=0.9), discriminator=dict(params=('^(?!task/)',)))


def settings(encoder=None, preprocess='none', players=PLAYERS, **task):
    config = configs.defaults()
    config.task = dict(name='adversarial', latent=4, generator=dict(widths=(6, 4), hidden=8)) | task
    config.data.streams = dict(rgb=dict(modality='rgb'))
    config.players = players
    config.model.update(dict(encoders=dict(rgb=encoder or dict(
        name='strided_video', widths=(4, 6), strides=((1, 2, 2), (2, 2, 2)))), preprocess=dict(rgb=preprocess)))
    return config


def clips(seed=0):
    draw = np.random.default_rng(seed)
    target = draw.integers(-1, 2, ROWS).astype(np.int32)
    rgb = np.broadcast_to(60 + 120 * (target == 1)[:, None, None, None, None], (ROWS, 4, 8, 8, 3)) + draw.integers(
        0, 40, (ROWS, 4, 8, 8, 3))
    return {'rgb': rgb.astype(np.uint8), 'valid/rgb': np.arange(4) < np.array([4, 4, 4, 3, 4, 4])[:, None],
            'present/rgb': np.array([1, 1, 1, 1, 0, 1], bool), 'mask': np.array([1, 1, 1, 1, 1, 0], np.float32),
            'target/label': target, 'id': np.arange(ROWS, dtype=np.int32), 'row': np.arange(ROWS, dtype=np.int32)}


class Setup:
    def __init__(self, config):
        model = models.create(config.model, 0)
        self.task = tasks.create(config, {'classes': [], 'names': ['dark', 'light']})
        self.apply = lambda variables, batch, **options: model.apply(variables, model.preprocess(batch), **options)
        self.players = Players({name: Player(optax.adam(1e-2, 0.0, 0.9), each['params'], each.get('ema_decay', 0.0))
                                for name, each in PLAYERS.items()})

        def init(key):
            one = jax.tree.map(lambda x: x[:1], clips())
            floats = {**one, 'rgb': one['rgb'].astype(np.float32)}
            variables = dict(model.init(key, floats, train=False))
            own = self.task.init(key, self.apply(variables, floats, train=False), one)
            return variables | {name: {**variables.get(name, {}), **values} for name, values in own.items()}

        self.init = init

    def start(self):
        return jax.jit(initializer(self.init, self.players), compiler_options=QUICK)(jax.random.key(0))

    def ctx(self, batch, params, step=0):
        return Context(self.apply, params, {}, batch, 0, None if step is None else jnp.asarray(step), None,
                       jax.random.key(0))


@pytest.fixture(scope='module')
def one():
    return Setup(settings())


@pytest.fixture(scope='module')
def state(one):
    return one.start()


def test_with_spectral_normalisation_the_scale_of_the_discriminators_kernels_does_not_matter(state):
    one = Setup(settings(spectral=True))
    larger = {name: part if name == 'task' else jax.tree.map(lambda leaf: leaf * (3 if leaf.ndim > 1 else 1), part)
              for name, part in state.params.items()}
    judged = jax.jit(lambda params: one.task.compute(one.ctx(clips(), params, None))['judged'], compiler_options=QUICK)
    first, second = judged(state.params), judged(larger)
    np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-6)
    assert np.abs(first).max() > 1e-3


@pytest.mark.slow
def test_each_loss_and_gradient_is_that_of_the_formulas(one, state):
    """In one step both players have the gradients of separate programs."""
    batch = clips()
    weight = np.array([1, 1, 1, 0, 0, 0])  # Cut off, absent and padding rows.
    real, classes = jnp.asarray(batch['rgb'] / np.float32(127.5) - 1), batch['target/label']

    def judged(params, x):
        outputs = one.apply({'params': params}, {'rgb': x}, train=False)
        own = params['task_training']
        score = outputs.features @ own['real']['kernel'][:, 0] + own['real']['bias'][0]
        of_class = (outputs.features * own['class']['embedding'][np.maximum(classes, 0)]).sum(1)
        return score + np.where(classes >= 0, 1, 0) * of_class

    def drawn(params):
        ctx = one.ctx(batch, params)
        return one.task.drawn(params, one.task.numbers(ctx.keys('numbers')), classes, (4, 8, 8, 3))

    def mean(values):
        return (values * weight).sum() / weight.sum()

    def discriminator(params):
        slopes = jax.grad(lambda x: judged(params, x).sum())(real)
        return (mean(jax.nn.softplus(-judged(params, real))) + mean(jax.nn.softplus(judged(params, drawn(params))))
                + mean(0.5 * (slopes ** 2).sum((1, 2, 3, 4))))

    def generator(params):
        return mean(jax.nn.softplus(-judged(params, drawn(params))))

    players = Players({name: Player(optax.sgd(1.0), each['params']) for name, each in PLAYERS.items()})
    begun = TrainState(jnp.zeros((), int), state.params, {}, players.slots(state.params))
    moved, metrics = jax.jit(make_train_step(one.apply, one.task, players, seed=0), compiler_options=QUICK)(
        begun, batch)
    before, after = players.parts(state.params), players.parts(moved.params)
    for name, formula in (('generator', generator), ('discriminator', discriminator)):
        value, gradient = jax.jit(jax.value_and_grad(formula), compiler_options=QUICK)(state.params)
        assert metrics[f'loss_{name}'] == pytest.approx(float(value), rel=1e-4)
        jax.tree.map(lambda a, b, c: np.testing.assert_allclose(a - b, c, rtol=1e-3, atol=1e-5), before[name],
                     after[name], players.parts(gradient)[name])


@pytest.mark.slow
@pytest.mark.parametrize('game', ['non_saturating', 'hinge'])
def test_it_learns_how_bright_clips_of_a_class_are(game):
    one = Setup(settings(game=game))
    step = jax.jit(make_train_step(one.apply, one.task, one.players, seed=0), compiler_options=QUICK)
    state = one.start()
    for number in range(150):
        state, metrics = step(state, clips(number))
    assert np.isfinite(list(metrics.values())).all()
    numbers, classes = jax.random.normal(jax.random.key(9), (64, 4)), jnp.arange(64) % 2
    drawn = np.asarray(jax.jit(lambda params: one.task.drawn(params, numbers, classes, (4, 8, 8, 3)))(
        state.eval_params))
    dark, light = (127.5 * (drawn[place::2].mean() + 1) for place in (0, 1))
    assert dark < 130 < light


@pytest.mark.slow
def test_microbatches_have_the_same_gradients(one):
    players = Players({name: Player(optax.sgd(1.0), each['params']) for name, each in PLAYERS.items()})
    state = jax.jit(initializer(one.init, players), compiler_options=QUICK)(jax.random.key(0))
    whole, parted = (jax.jit(make_train_step(one.apply, one.task, players, seed=0, microbatches=parts),
                             compiler_options=QUICK)(state, clips()) for parts in (1, 2))
    np.testing.assert_allclose(parted[1]['loss'], whole[1]['loss'], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), parted[0].params, whole[0].params)


@pytest.mark.parametrize('shape', [(4, 8, 8, 3), (1, 7, 10, 3), (9, 12, 16, 1)])
def test_clips_of_any_size_are_drawn(shape):
    net = VideoGenerator(shape, (6, 4, 4), 8, 2)
    drawn = jax.eval_shape(lambda: net.init_with_output(
        jax.random.key(0), jnp.zeros((2, 4)), jnp.array([0, -1]))[0])
    assert drawn.shape == (2, *shape)


def test_measures(one, state):
    scores = jax.tree.map(np.asarray, jax.jit(lambda batch: one.task.compute(one.ctx(batch, state.params, None)),
                                              compiler_options=QUICK)(clips()))
    assert scores['counted'].tolist() == [1, 1, 1, 0, 0, 0]
    many = {name: np.concatenate([values[:3]] * 4) for name, values in scores.items()}
    rows = Predictions(np.arange(12), {}, many, {'rgb': np.ones(12, bool)})
    figures = one.task.summary(rows)
    assert list(figures) == ['frechet', 'motion', 'told_apart', 'loss']
    assert np.isfinite(list(figures.values())).all()
    same = {name: values[:, :1].repeat(2, 1) if values.ndim > 1 else values for name, values in many.items()}
    assert one.task.summary(rows._replace(scores=same))['frechet'] == pytest.approx(0, abs=1e-6)
    assert one.task.summary(rows._replace(scores=same))['motion'] == 1
    assert np.isfinite(one.task.chance(rows)['frechet'])
    with pytest.raises(UserError, match='at least 4 are needed'):
        one.task.summary(rows._replace(scores={**many, 'counted': 0 * many['counted']}))


def test_parts_are_averaged():
    x = np.random.default_rng(0).normal(size=(2, 8, 10, 3, 1)).astype(np.float32)
    found = adversarial._means(jnp.asarray(x))
    assert found.shape == (2, 4, 4, 3, 1)
    np.testing.assert_allclose(found[1, 1, 0, 2, 0], x[1, 2:4, 0:2, 2, 0].mean(), rtol=1e-5)
    np.testing.assert_allclose(found[0, 3, 1, 0, 0], x[0, 6:8, 2:5, 0, 0].mean(), rtol=1e-5)


@pytest.mark.parametrize(('change', 'message'), [
    (dict(game='hinges'), "did you mean 'hinge'"), (dict(latent=0), 'at least 1 number'),
    (dict(generator=dict(widths=())), 'give at least one width'),
    (dict(generator=dict(widths=(4, 0))), 'none below 1'), (dict(generator=dict(hidden=-1)), 'none below 1'),
    (dict(generator=dict(width=3)), "no key 'width': did you mean 'widths'"),
    (dict(stream='rg'), 'no encoder to judge'),
    (dict(preprocess='signed'), "set it to 'none'"), (dict(players={}), 'name both')])
def test_what_a_config_gets_wrong(change, message):
    with pytest.raises(UserError, match=message):
        tasks.create(settings(**change))


def test_a_discriminator_with_batch_statistics(one, state):
    ctx = one.ctx(clips(), state.params)
    object.__setattr__(ctx, 'model_state', {'batch_stats': {'mean': np.zeros(1)}})
    with pytest.raises(UserError, match='keeps batch statistics'):
        one.task.loss(ctx)


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, one):
    state = assert_goes_on_bit_for_bit(tmp_path, apply=one.apply, init=one.init, task=one.task, clips=clips,
                                       players=PLAYERS)
    assert set(state.ema) == {'generator'}
