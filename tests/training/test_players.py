"""Several players in one step: a generator and a discriminator of points, as an adversarial task would have them."""

import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training import tiny
from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.models.convolution import conv3d, on_platform
from vmmjax.training import Loss, Player, Players, make_mesh, make_train_step, optimizer, train
from vmmjax.training.objective import mean_of, total
from vmmjax.training.state import initializer
from vmmjax.training.workdir import hold

ROWS, QUICK = 16, {'xla_backend_optimization_level': 0}


class Both(nn.Module):
    """A generator from noise, and a discriminator that judges what is real and what it made."""

    dtype: object = jnp.float32

    def setup(self):
        dense = lambda size: nn.Dense(size, dtype=self.dtype, param_dtype=self.dtype)  # noqa: E731
        self.generator = nn.Sequential([dense(8), nn.tanh, dense(8)])
        self.discriminator = nn.Sequential([dense(8), nn.tanh, dense(1)])

    def __call__(self, batch, train):
        made = self.generator(batch['noise'].astype(self.dtype))
        return {'made': made, 'real': self.discriminator(batch['x'].astype(self.dtype))[:, 0],
                'fake': self.discriminator(made)[:, 0]}


def terms(outputs, mask):
    """Non-saturating losses (Goodfellow et al. 2014) as sums over rows."""
    made = nn.softplus(-outputs['fake'])
    judged = nn.softplus(-outputs['real']) + nn.softplus(outputs['fake'])
    return {'generator': ((made * mask).sum(), mask.sum()), 'discriminator': ((judged * mask).sum(), mask.sum())}


class Adversary:
    """Its task."""

    def loss(self, ctx):
        outputs, model_state = ctx.forward()
        found = terms(outputs, ctx.batch['mask'].astype(outputs['fake'].dtype))
        return {name: Loss({f'loss_{name}': pair}, model_state, {}) for name, pair in found.items()}


def batch(seed):
    generator = np.random.default_rng(seed)
    return {'x': generator.standard_normal((ROWS, 8)), 'noise': generator.standard_normal((ROWS, 4)),
            'mask': np.where(np.arange(ROWS) < ROWS - 3, 1.0, 0.0), 'id': np.arange(ROWS, dtype=np.int32)}


def players(**changes):
    found = {'generator': Player(optax.sgd(0.1), ('generator',)),
             'discriminator': Player(optax.sgd(0.2, momentum=0.9), ('discriminator',))}
    return Players({name: Player(**{**vars(player), **changes.get(name, {})}) for name, player in found.items()})


def start(model, who):
    return jax.jit(initializer(lambda key: model.init(key, batch(0), train=False), who),
                   compiler_options=QUICK)(jax.random.key(0))


def test_each_player_has_the_gradient_of_its_own_loss():
    with jax.enable_x64(True):
        model, who = Both(jnp.float64), players()
        state, clips = start(model, who), batch(1)
        after, metrics = jax.jit(make_train_step(model.apply, Adversary(), who, seed=0), compiler_options=QUICK)(
            state, clips)
        for name, rate in (('generator', 0.1), ('discriminator', 0.2)):
            def own(params, name=name):
                outputs = model.apply({'params': params}, clips, train=True)
                return mean_of(terms(outputs, clips['mask'])[name])

            value, gradient = jax.value_and_grad(own)(state.params)
            np.testing.assert_allclose(metrics[f'loss_{name}'], value, rtol=1e-12)
            jax.tree.map(lambda new, old, g, rate=rate: np.testing.assert_allclose(
                new, old - rate * g, rtol=1e-12, atol=1e-14), after.params[name], state.params[name], gradient[name])
            np.testing.assert_allclose(metrics[f'gradient_norm_{name}'], optax.tree.norm(gradient[name]), rtol=1e-12)


@pytest.mark.parametrize('parts', [2, 4])
def test_microbatches_add_up_for_every_player(parts):
    with jax.enable_x64(True):
        model, who = Both(jnp.float64), players()
        state = start(model, who)
        one, many = (jax.jit(make_train_step(model.apply, Adversary(), who, seed=0, microbatches=count),
                             compiler_options=QUICK)(state, batch(1)) for count in (1, parts))
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12), one, many)


def test_a_player_that_waits_stands_still_with_its_slots_and_average():
    model = Both()
    who = players(discriminator=dict(every=3, ema_decay=0.5), generator=dict(ema_decay=0.9))
    step = jax.jit(make_train_step(model.apply, Adversary(), who, seed=0), compiler_options=QUICK)
    state = start(model, who)
    moved = []
    for seed in range(6):
        after, _ = step(state, batch(seed))
        moved.append(not np.array_equal(jax.tree.leaves(after.params['discriminator'])[1],
                                        jax.tree.leaves(state.params['discriminator'])[1]))
        if not moved[-1]:
            for part in ('params', 'opt_state', 'ema'):
                tiny.assert_equal(getattr(after, part)['discriminator'], getattr(state, part)['discriminator'])
        assert not np.array_equal(jax.tree.leaves(after.params['generator'])[1],
                                  jax.tree.leaves(state.params['generator'])[1])
        state = after
    assert moved == [True, False, False, True, False, False]
    tiny.assert_equal(state.eval_params['discriminator'], state.ema['discriminator']['discriminator'])


def test_one_loss_that_is_not_finite_stops_all():
    model, who = Both(), players()
    step = jax.jit(make_train_step(model.apply, Adversary(), who, seed=0), compiler_options=QUICK)
    state = start(model, who)
    bad = batch(0)
    bad['x'][2, 3] = np.nan  # The generator does not see it.
    after, metrics = step(state, bad)
    assert metrics['skipped'] == 1
    assert np.isfinite(metrics['loss_generator'])
    tiny.assert_equal(after.params, state.params)


@pytest.mark.parametrize('form', ['native', 'stacked'])
def test_the_penalty_on_a_gradient_goes_through_convolutions(form):
    """R1 (Mescheder et al. 2018): a gradient of a gradient, against finite differences."""
    draw = np.random.default_rng(0).standard_normal
    with jax.enable_x64(True), on_platform('cpu'):
        x = jnp.asarray(draw((2, 4, 6, 6, 3)))
        params = {'first': jnp.asarray(draw((3, 3, 3, 3, 4))), 'second': jnp.asarray(draw((3, 3, 3, 4, 1)))}

        def judged(params, x):
            y = nn.softplus(conv3d(x, params['first'], form=form))
            return conv3d(y, params['second'], (2, 2, 2), form=form).sum()

        def penalty(params):
            slopes = jax.grad(judged, 1)(params, x)
            return (slopes ** 2).sum()

        gradient = jax.grad(penalty)(params)
        direction = jax.tree.map(lambda leaf: jnp.asarray(draw(leaf.shape)), params)
        expected = sum(jnp.vdot(a, b) for a, b in zip(*map(jax.tree.leaves, (gradient, direction)), strict=True))
        near = [penalty(jax.tree.map(lambda p, d, h=h: p + h * d, params, direction)) for h in (1e-5, -1e-5)]
        np.testing.assert_allclose((near[0] - near[1]) / 2e-5, expected, rtol=1e-6)


def config(**changes):
    return tiny.config(**{'optimizer.name': 'adamw', 'optimizer.options': {}, **changes, 'players': {
        'generator': dict(params='generator', ema_decay=0.9),
        'discriminator': dict(params=('discriminator',), every=2, optimizer=dict(lr=dict(peak=2e-3)))}})


def feed(first):
    """An endless feed that depends on the step alone."""
    return ({key: value.astype(np.float32) if value.dtype == float else value for key, value in batch(i).items()}
            for i in itertools.count(first))


def run(folder, feed=feed, **changes):
    settings = config(**changes)
    model = Both()
    with hold(folder):
        return train(settings, folder, mesh=make_mesh(settings.mesh, jax.devices()[:1]), apply=model.apply,
                     init=lambda key: model.init(key, batch(0), train=False), objective=Adversary(), batches=feed,
                     evaluate=lambda state: {}, identity={'config': configs.to_json(settings), 'fingerprint': 'f',
                                                          'classes': []})


def test_a_killed_run_of_two_players_goes_on_bit_for_bit(tmp_path):
    def dying(first):
        yield from itertools.islice(feed(first), 13 - first)
        raise KeyboardInterrupt

    whole = run(tmp_path / 'whole')
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / 'killed', dying)
    tiny.assert_equal(run(tmp_path / 'killed'), whole)
    assert whole.ema.keys() == {'generator'}


def test_averages_of_a_run_that_begins_with_another_are_those_of_its_players(tmp_path):
    run(tmp_path / 'first', steps=3)
    begun = run(tmp_path / 'second', **{'steps': 3, 'init_from.workdir': str(tmp_path / 'first'),
                                        'optimizer.lr.peak': 0.0, 'optimizer.lr.schedule': 'constant'})
    assert begun.ema.keys() == {'generator'}
    jax.tree.map(lambda average, value: np.testing.assert_allclose(average, value, rtol=1e-6),
                 begun.ema['generator']['generator'], begun.params['generator'])


@pytest.mark.parametrize(('given', 'message'), [
    ({'one': dict(params='generator')}, r"discriminator/.* belongs to no player"),
    ({'one': dict(params='.*'), 'two': dict(params='generator')}, "player 'two' of config.players has no parameter"),
    ({'one': dict(params='generatr')}, "'generatr' of config.players matches no path"),
    ({'one': dict(params='generator', evry=2)}, "players.one.evry that nothing reads: did you mean 'every'"),
    ({'one': dict(every=2)}, 'give patterns'),
])
def test_what_a_config_gets_wrong(given, message):
    with pytest.raises(UserError, match=message):
        start(Both(), optimizer.players(tiny.config(players=given)))


GAN = {'generator': dict(params='generator'), 'discriminator': dict(params='discriminator')}


def test_patterns_of_all_players_match_something_of_all_parameters():
    shared = {'freeze': ('discriminator/layers_0/bias',), 'optimizer.multipliers': (('generator', 0.0, 1.0),),
              'optimizer.lr.warmup_steps': 0}
    model, who = Both(), optimizer.players(tiny.config(players=GAN, **shared))
    state = start(model, who)
    after, _ = make_train_step(model.apply, Adversary(), who, seed=0)(state, batch(0))
    tiny.assert_equal(after.params['generator'], state.params['generator'])
    still = jax.tree.map(np.array_equal, after.params['discriminator'], state.params['discriminator'])
    assert still == {'layers_0': {'bias': True, 'kernel': False}, 'layers_2': {'bias': False, 'kernel': False}}


@pytest.mark.parametrize('given', [{}, GAN])
@pytest.mark.parametrize(('changes', 'message'), [
    ({'freeze': ('discriminatr',)}, "'discriminatr' of config.freeze matches no path: did you mean 'discriminator"),
    ({'freeze': ('(',)}, 'config.freeze is no regular expression'),
    ({'optimizer.multipliers': (('generatr', 1.0, 1.0),)}, "'generatr' of config.optimizer.multipliers matches no"),
])
def test_patterns_of_all_players_that_match_nothing(given, changes, message):
    with pytest.raises(UserError, match=message):
        start(Both(), optimizer.players(tiny.config(players=given, **changes)))


def test_a_pattern_of_one_player_that_matches_none_of_its_parameters():
    own = dict(multipliers=(('discriminator', 1.0, 1.0),))
    given = {**GAN, 'generator': dict(params='generator', optimizer=own)}
    with pytest.raises(UserError, match=r"'discriminator' of config.players.generator.optimizer.multipliers matches"):
        start(Both(), optimizer.players(tiny.config(players=given)))


def test_losses_are_those_of_the_players():
    model = Both()
    for who, message in ((Players(Player(optax.sgd(0.1))), 'config.players is empty'),
                         (Players({'generator': Player(optax.sgd(0.1), ('generator',)),
                                   'judge': Player(optax.sgd(0.1), ('discriminator',))}), "player 'discriminator'")):
        with pytest.raises(UserError, match=message):
            make_train_step(model.apply, Adversary(), who, seed=0)(start(model, who), batch(0))


def test_the_total_is_the_sum_of_the_means():
    loss = Loss({'a': (jnp.float32(6), jnp.float32(3)), 'b': (jnp.float32(1), jnp.float32(0))}, {}, {})
    assert total(loss) == 2
