"""Few labels and two views, of a network that sees three numbers a frame."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tests.tasks.resumed import assert_goes_on_bit_for_bit
from vmmjax import config as configs
from vmmjax import models, tasks
from vmmjax.errors import UserError
from vmmjax.pipeline.targets import WindowBatch
from vmmjax.prepare.array_store import ArrayStore
from vmmjax.training import Player, Players, make_train_step
from vmmjax.training.objective import Context
from vmmjax.training.state import initializer

ROWS, QUICK = 8, {'xla_backend_optimization_level': 0}
FACTS = {'classes': ['a', 'b', 'c']}


def settings(views=2, **task):
    config = configs.defaults()
    config.task = dict(name='semi_supervised') | task
    config.data.streams = dict(x=dict(modality='x', views=views))
    config.model.update(dict(encoders=dict(x=dict(name='tdnn', frame_size=6, widths=(), strides=(), features=6,
                                                  dropout=0.0)), preprocess=dict(x='none'),
                             head=dict(name='consensus', dropout=0.0)))
    return config


def clips(seed=0):
    """Three classes as places in a plane; two clips have a label."""
    draw = np.random.default_rng(seed)
    target = np.arange(ROWS) % 3
    x, strong = (np.eye(3)[target][:, None] * 3 + draw.normal(size=(ROWS, 2, 3)) * noise for noise in (0.3, 0.9))
    label = np.where(np.arange(ROWS) < 3, target, -1)
    there = {'valid/x': np.ones((ROWS, 2), bool), 'present/x': np.arange(ROWS) != 6}
    return {'x': x.astype(np.float32), 'view1/x': strong.astype(np.float32), **there,
            **{f'view1/{key}': value for key, value in there.items()}, 'target/label': label.astype(np.int32),
            'mask': (np.arange(ROWS) < 7).astype(np.float32), 'id': np.arange(ROWS, dtype=np.int32),
            'row': np.arange(ROWS, dtype=np.int32)}


class Setup:
    def __init__(self, **task):
        config = settings(**task)
        model, self.task = models.create(config.model, 3), tasks.create(config, FACTS)
        self.apply = model.apply
        self.init = lambda key: model.init(key, {'x': jnp.zeros((1, 2, 3))}, train=False)
        self.variables = jax.jit(self.init, compiler_options=QUICK)(jax.random.key(0))


@pytest.fixture(scope='module')
def one():
    return Setup(threshold=0.4, weight=2.0)


def test_the_loss_is_that_of_the_paper(one):
    batch, state = clips(), {'batch_stats': one.variables['batch_stats']}
    params, teacher = one.variables['params'], jax.tree.map(lambda x: 1.5 * x, one.variables['params'])
    ctx = Context(one.apply, params, state, batch, 0, jnp.asarray(0), teacher, jax.random.key(0))
    found = one.task.loss(ctx)
    only = {key: value for key, value in batch.items() if not key.startswith('view1/')}
    other = {**only, **{key.removeprefix('view1/'): value for key, value in batch.items() if key.startswith('view1/')}}
    told = jax.nn.softmax(one.apply({'params': teacher, **state}, only, train=False).logits)
    weak, first = one.apply({'params': params, **state}, only, train=True, mutable=['batch_stats'])
    strong, _ = one.apply({'params': params, **first}, other, train=True, mutable=['batch_stats'])
    cross = -jax.nn.log_softmax(weak.logits)[np.arange(3), np.arange(3)]
    np.testing.assert_allclose(found.terms['loss'][0], cross.sum(), rtol=1e-5)
    assert found.terms['loss'][1] == 3
    rows = [row for row in range(3, 6) if told[row].max() >= 0.4]  # Row 6 is absent, row 7 padding.
    pseudo = sum(-jax.nn.log_softmax(strong.logits)[row, int(told[row].argmax())] for row in rows)
    np.testing.assert_allclose(found.terms['pseudo'][0], 2 * pseudo, rtol=1e-4)
    assert found.terms['pseudo'][1] == 3
    assert found.metrics['sure'][0] == len(rows)


def test_the_teacher_has_no_gradient(one):
    batch, state = clips(), {'batch_stats': one.variables['batch_stats']}

    def loss(teacher):
        ctx = Context(one.apply, one.variables['params'], state, batch, 0, jnp.asarray(0), teacher, jax.random.key(0))
        return one.task.loss(ctx).terms['pseudo'][0]

    slopes = jax.grad(loss)(one.variables['params'])
    assert all((leaf == 0).all() for leaf in jax.tree.leaves(slopes))


def test_training_clips_keep_a_share_of_their_labels_and_others_all():
    labels = np.array(['a', 'b', 'c'] * 20)
    store = ArrayStore({split: {'x': np.zeros((30, 2, 3), np.float32), 'label': labels[:30].tolist()}
                        for split in ('train', 'test')}, {'x': 2.0})
    data = configs.defaults().data
    data.labels_share = 0.2
    task = tasks.create(settings(), FACTS)
    rows = np.arange(60)
    found = task.targets(store, data).of(WindowBatch(rows, rows >= 0, rows < 0, 0.0 * rows, 1.0 + 0 * rows))
    known = found['target/label'] >= 0
    assert known[:30].sum() == 6
    assert np.bincount(found['target/label'][:30][known[:30]]).tolist() == [2, 2, 2]
    assert known[30:].all()
    assert task.learns_unlabelled


@pytest.mark.slow
def test_clips_without_labels_help():
    """With pseudo-labels more test clips are told than with the three labels alone."""
    def told(weight):
        one, players = Setup(threshold=0.8, weight=weight), Players(Player(optax.adam(1e-2), ema_decay=0.9))
        step = jax.jit(make_train_step(one.apply, one.task, players, seed=0), compiler_options=QUICK)
        state = jax.jit(initializer(one.init, players), compiler_options=QUICK)(jax.random.key(0))
        fixed = clips()
        for number in range(120):
            batch = clips(number)
            batch['x'][:3] = fixed['x'][:3]  # The same three clips have a label.
            state, metrics = step(state, batch)
        x = np.concatenate([clips(seed)['view1/x'] for seed in range(900, 940)])
        logits = one.apply({'params': state.eval_params, **state.model_state}, {'x': x}, train=False).logits
        wanted = np.tile(np.arange(ROWS) % 3, 40)
        return float(-jax.nn.log_softmax(logits)[np.arange(len(x)), wanted].mean()), float(metrics['sure'])

    (alone, _), (together, sure) = told(0.0), told(1.0)
    assert sure > 0.5
    assert together < alone


@pytest.mark.parametrize(('change', 'message'), [
    (dict(threshold=1.5), 'give a probability'), (dict(views=1), 'compares two views'),
    (dict(class_weights='even'), 'class_weights')])
def test_what_a_config_gets_wrong(change, message):
    with pytest.raises(UserError, match=message):
        tasks.create(settings(**change))


@pytest.mark.slow
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, one):
    state = assert_goes_on_bit_for_bit(tmp_path, apply=one.apply, init=one.init, task=one.task, clips=clips,
                                       ema_decay=0.9)
    assert state.ema is not None
