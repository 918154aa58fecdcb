import dataclasses
import itertools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.training import tiny
from vmmjax.errors import UserError
from vmmjax.tasks import Classification, Retrieval, Several
from vmmjax.training import Loss, Player, Players, TrainState, make_mesh, optimizer, sharding
from vmmjax.training import make_train_step as make_step
from vmmjax.training.loss_scale import FIRST, PATIENCE, LossScale
from vmmjax.training.state import initializer
from vmmjax.training.step import compile_train_step


def make_train_step(apply, objective, transformation, ema_decay=0.0, **options):
    return make_step(apply, objective, Players(Player(transformation, ema_decay=ema_decay)), **options)


CONFIG = tiny.config(**{'optimizer.lr.warmup_steps': 0})


class Plain(nn.Module):
    """No batch statistics: rows do not see each other."""

    dtype: object = jnp.float32

    @nn.compact
    def __call__(self, batch, train):
        x = nn.relu(nn.Dense(16, dtype=self.dtype, name='inner')(batch['x']))
        return tiny.Outputs(nn.Dense(4, dtype=self.dtype, name='head')(x))


def begin(model, transformation, **options):
    example = {'x': jnp.zeros((1, 8))}
    players = Players(Player(transformation, ema_decay=0.9))
    return initializer(lambda key: model.init(key, example, train=False), players, **options)(
        jax.random.key(0))


def batch(seed=0, size=16):
    return next(tiny.batches(seed, size))


def poisoned(value, size=16):
    found = batch(size=size)
    found['x'][3, 2] = value
    return found


@pytest.mark.parametrize(('value', 'microbatches'), [(np.nan, 1), (np.inf, 2)])
def test_a_step_that_is_not_finite_changes_nothing_but_the_count(value, microbatches):
    transformation = optimizer.create(CONFIG)
    step = jax.jit(make_train_step(tiny.Tiny().apply, Classification(target='label'), transformation, seed=0,
                                   ema_decay=0.9, microbatches=microbatches))
    state, metrics = step(begin(tiny.Tiny(), transformation), batch())
    assert metrics['skipped'] == 0
    after, metrics = step(state, poisoned(value))
    assert metrics['skipped'] == 1
    assert metrics['skipped'].dtype == jnp.float32
    assert after.step == 2
    for part in ('params', 'model_state', 'ema'):
        tiny.assert_equal(getattr(after, part), getattr(state, part))
    assert after.model_state
    final, metrics = step(after, batch(1))
    assert metrics['skipped'] == 0
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(final))
    assert not np.array_equal(final.params['head']['kernel'], state.params['head']['kernel'])


@pytest.mark.parametrize(('statistic', 'skipped'), [(3.4e38, 0), (-3.4e38, 0), (np.inf, 1), (np.nan, 1)])
def test_a_step_with_a_running_statistic_that_is_not_finite_is_skipped_and_one_with_a_large_one_is_not(
        statistic, skipped):
    class Statistic:
        def loss(self, ctx):
            mean = ctx.model_state['mean'].at[2].set(ctx.batch['statistic'])
            found = {'mean': mean, 'var': ctx.model_state['var'] + 1}
            return Loss({'loss': (ctx.params['x'].sum(), jnp.ones(()))}, found, {})

    transformation = optimizer.create(CONFIG)
    params, model_state = {'x': jnp.ones(2)}, {'mean': jnp.zeros(4), 'var': jnp.ones(4)}
    state = TrainState(jnp.zeros((), jnp.int32), params, model_state, transformation.init(params))
    step = jax.jit(make_train_step(None, Statistic(), transformation, seed=0))
    after, metrics = step(state, {'statistic': jnp.float32(statistic), 'mask': jnp.ones(1)})
    assert (metrics['skipped'], after.step) == (skipped, 1)
    assert np.array_equal(after.params['x'], params['x']) == bool(skipped)
    assert np.array_equal(after.model_state['var'], model_state['var']) == bool(skipped)


def test_the_learning_rate_is_that_of_the_step_whatever_was_skipped():
    config = tiny.config(**{'optimizer.name': 'sgd', 'optimizer.options': {}, 'optimizer.clip': 0.0, 'steps': 4,
                            'optimizer.lr.warmup_steps': 0})
    transformation = optimizer.create(config)
    step = jax.jit(make_train_step(Plain().apply, Classification(target='label'), transformation, seed=0))
    state = begin(Plain(), transformation)
    for seed in range(3):
        state, _ = step(state, poisoned(np.nan) if seed == 1 else batch(seed))
    after, metrics = step(state, batch(3))
    moved = optax.tree.norm(jax.tree.map(jnp.subtract, after.params, state.params))
    rate = optimizer.learning_rate(config.optimizer.lr, 4)(3)
    np.testing.assert_allclose(moved, rate * metrics['gradient_norm'], rtol=1e-3)


def uneven(size=16):
    """Rows that count stand unevenly over the parts, and the two targets are known in different ones."""
    found = batch(size=size)
    found['mask'][[0, 2, 4, 6, 8, 1]] = 0
    found['target/other'] = np.where(np.arange(size) % 4 == 3, -1, found['target/label'][::-1]).astype(np.int32)
    return found


@dataclasses.dataclass
class Two:
    """Plain with the same logits for two targets."""

    model: nn.Module

    def apply(self, *args, **kwargs):
        outputs, state = self.model.apply(*args, **kwargs)
        return tiny.Outputs({'label': outputs.logits, 'other': outputs.logits}), state


@pytest.mark.parametrize('count', [2, 4, 8])
def test_microbatches_with_uneven_masks_add_up_to_the_batch(count):
    transformation = optax.sgd(1.0)

    def stepped(microbatches):
        objective = Several(target=('label', 'other'), label_smoothing=0.1)
        step = make_train_step(Two(Plain()).apply, objective, transformation, seed=0, microbatches=microbatches)
        return jax.jit(step)(begin(Plain(), transformation), uneven())

    (one, expected), (many, metrics) = stepped(1), stepped(count)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), one.params, many.params)
    assert metrics.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(metrics[name], value, rtol=1e-5, err_msg=name)


def test_a_batch_in_which_nothing_counts_is_no_step_in_any_part():
    transformation = optax.sgd(1.0)
    empty = batch() | {'mask': np.zeros(16, np.float32)}
    start = begin(Plain(), transformation)
    step = make_train_step(Plain().apply, Classification(target='label'), transformation, seed=0, microbatches=4)
    state, metrics = jax.jit(step)(start, empty)
    tiny.assert_equal(state.params, start.params)
    assert metrics['loss'] == metrics['skipped'] == 0


def test_batch_norm_sees_each_microbatch_alone():
    transformation = optax.sgd(0.0)
    start, whole = begin(tiny.Tiny(), transformation), batch()

    def statistics(microbatches, start, batch):
        step = make_train_step(tiny.Tiny().apply, Classification(target='label'), transformation, seed=0,
                               microbatches=microbatches)
        return jax.jit(step)(start, batch)[0]

    state = start
    for part in range(2):
        state = statistics(1, state, {name: value[part::2] for name, value in whole.items()})
    found = statistics(2, start, whole).model_state
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), found, state.model_state)


def test_microbatches_need_a_fraction_of_the_memory():
    class Wide(nn.Module):
        @nn.compact
        def __call__(self, batch, train):
            x = batch['x']
            for _ in range(4):
                x = nn.gelu(nn.Dense(256)(x))
            return tiny.Outputs(nn.Dense(4)(x))

    transformation = optax.sgd(0.1)

    def temporary(microbatches):
        step = make_train_step(Wide().apply, Classification(target='label'), transformation, seed=0,
                               microbatches=microbatches)
        compiled = jax.jit(step).lower(begin(Wide(), transformation), batch(size=8192)).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    # What the weights of the whole batch are counted for does not run the network on it.
    assert temporary(8) < 0.3 * temporary(1)


@pytest.mark.parametrize('microbatches', [1, 2])
def test_no_row_moves_between_devices(microbatches):
    mesh = make_mesh(dict(data=8))
    rows, transformation = sharding.batch_sharding(mesh), optax.sgd(0.1)
    start = begin(Plain(), transformation)
    step = make_train_step(Plain().apply, Classification(target='label'), transformation, seed=0,
                           microbatches=microbatches, rows=rows)
    compiled = compile_train_step(step, mesh, sharding.state_shardings(start, mesh))
    text = compiled.lower(start, batch(size=64)).compile().as_text()
    assert 'all-reduce' in text  # The gradients' sums.
    for move in ('all-gather', 'all-to-all', 'collective-permute'):
        assert move not in text, move


def test_what_does_not_split_is_refused():
    transformation = optax.sgd(0.1)
    step = make_train_step(Plain().apply, Classification(target='label'), transformation, seed=0,
                           microbatches=3)
    with pytest.raises(UserError, match=r'16 clips does not split into 3 microbatches .* multiple of 3'):
        step(begin(Plain(), transformation), batch())
    spread = make_train_step(Plain().apply, Classification(target='label'), transformation, seed=0,
                             microbatches=4, rows=sharding.batch_sharding(make_mesh(dict(data=8))))
    with pytest.raises(UserError, match=r'16 clips does not split into 4 .* over 8 device.* multiple of 32'):
        spread(begin(Plain(), transformation), batch())
    with pytest.raises(UserError, match=r'compares the clips .* config.microbatches = 1 \(it is 2\)'):
        make_train_step(Plain().apply, Retrieval(target='label', streams=('a', 'b')), transformation, seed=0,
                        microbatches=2)


class Linear:
    """A loss whose gradient is `weight` times `batch['slope']`, computed in float16."""

    def __init__(self, weight=1.0):
        self.weight = weight

    def loss(self, ctx):
        x = (ctx.params['x'].astype(jnp.float16) * ctx.batch['slope'].astype(jnp.float16)).sum().astype(jnp.float32)
        return Loss({'loss': (x * self.weight, jnp.ones(()))}, ctx.model_state, {})


def scaled_run(slopes, scale):
    transformation = optax.sgd(1.0)
    params = {'x': jnp.zeros(1)}
    state = TrainState(jnp.zeros((), jnp.int32), params, {}, transformation.init(params), None, scale)
    step = jax.jit(make_train_step(None, Linear(), transformation, seed=0))
    skipped = []
    for slope in slopes:
        state, metrics = step(state, {'slope': jnp.asarray([slope]), 'mask': jnp.ones(1)})
        skipped.append(float(metrics['skipped']))
    return state, skipped


def test_a_gradient_that_float16_cannot_hold_arrives_by_the_loss_scale():
    slope = 2.0 ** -10

    weak = Linear(2.0 ** -20)
    transformation = optax.sgd(1.0)
    for scale, expected in ((None, 0.0), (LossScale.create(), -(2.0 ** -30))):
        state = TrainState(jnp.zeros((), jnp.int32), {'x': jnp.zeros(1)}, {}, transformation.init({}), None, scale)
        state, _ = jax.jit(make_train_step(None, weak, transformation, seed=0))(
            state, {'slope': jnp.asarray([slope]), 'mask': jnp.ones(1)})
        assert state.params['x'][0] == expected


def test_the_loss_scale_halves_where_gradients_overflow_and_doubles_after_a_while():
    state, skipped = scaled_run([16.0, 4.0, 1.0, 1.0], LossScale.create())
    # float16 ends at 65504: 16 x 2^15 and 4 x 2^14 are above.
    assert skipped == [1, 1, 0, 0]
    assert state.loss_scale.factor == FIRST / 4
    assert state.params['x'][0] == -2
    almost = LossScale(jnp.asarray(8.0), jnp.asarray(PATIENCE - 1, jnp.int32))
    state, _ = scaled_run([1.0], almost)
    assert (state.loss_scale.factor, state.loss_scale.finite_steps) == (16, 0)
    state, _ = scaled_run([np.inf], LossScale(jnp.asarray(1.0), jnp.asarray(5, jnp.int32)))
    assert (state.loss_scale.factor, state.loss_scale.finite_steps) == (1, 0)


def test_nothing_is_computed_for_the_gradients_of_what_is_frozen():
    def flops(**options):
        transformation = optax.sgd(0.1)
        step = make_train_step(Plain().apply, Classification(target='label'), transformation, seed=0, **options)
        compiled = jax.jit(step).lower(begin(Plain(), transformation), batch(size=512)).compile()
        return compiled.cost_analysis()['flops']

    dense = 2 * 512 * 8 * 16
    assert flops() - flops(freeze=('inner',)) >= dense


@pytest.mark.slow
def test_a_run_with_all_of_it_goes_on_where_it_was_killed(tmp_path):
    config = tiny.config(**{
        'microbatches': 2, 'model.dtype': 'float16', 'optimizer.name': 'sgd', 'optimizer.lr.schedule': 'step',
        'optimizer.lr.milestones': (8, 16), 'optimizer.options': {'momentum': 0.9, 'weight_decay': 1e-4},
        'optimizer.multipliers': (('head/kernel', 5.0, 1.0), ('head/bias', 10.0, 0.0))})

    def dying(start):
        yield from itertools.islice(tiny.batches(start), 13 - start)
        raise KeyboardInterrupt

    whole = tiny.run(tmp_path / 'whole', config)
    assert whole.loss_scale.finite_steps == 20
    with pytest.raises(KeyboardInterrupt):
        tiny.run(tmp_path / 'killed', config, feed=dying)
    tiny.assert_equal(tiny.run(tmp_path / 'killed', config), whole)
