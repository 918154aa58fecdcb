from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tasks import asked
from vmmjax.errors import UserError
from vmmjax.training.objective import mean_of, total

MASK = np.array([1, 1, 1, 0], np.float32)
TARGET = np.array([0, 2, 1, 0])
LOGITS = {name: np.random.default_rng(i).normal(size=(4, 3)).astype(np.float32)
          for i, name in enumerate(('fused', 'rgb', 'audio'))}
PRESENT = {'rgb': np.array([True, True, False, True]), 'audio': np.array([False] * 4)}


def judged(task, heads=('rgb', 'audio'), target='label', batch=None):
    def apply(variables, batch, **_):
        scale = variables['params']
        return SimpleNamespace(logits=scale * LOGITS['fused'], present=PRESENT,
                               stream_logits={name: scale * LOGITS[name] for name in heads}), {}

    batch = batch or {'mask': jnp.asarray(MASK), 'target/label': jnp.asarray(TARGET)}
    objective = asked.task(task, target)
    return lambda scale: asked.loss(objective, apply, scale, batch)


def cross_entropy(logits, target):
    return np.log(np.exp(logits).sum(-1)) - logits[np.arange(len(target)), target]


def test_a_streams_loss_is_over_the_rows_that_have_it():
    weights = {'fused': 0.5, 'rgb': 0.3, 'audio': 0.2}
    loss = judged(dict(name='classification', stream_weights=weights))(1.0)
    each = {name: cross_entropy(LOGITS[name], TARGET) for name in LOGITS}
    expected = 0.5 * each['fused'][:3].mean() + 0.3 * each['rgb'][:2].mean()  # No row has sound.
    np.testing.assert_allclose(total(loss), expected, rtol=1e-5)
    np.testing.assert_allclose(mean_of(loss.metrics['loss_rgb']), each['rgb'][:2].mean(), rtol=1e-5)
    np.testing.assert_allclose(mean_of(loss.metrics['loss_fused']), each['fused'][:3].mean(), rtol=1e-5)
    assert mean_of(loss.metrics['loss_audio']) == 0
    assert 'accuracy_rgb' in loss.metrics


def test_an_absent_stream_has_no_gradient_whatever_it_holds():
    task = dict(name='classification', stream_weights={'fused': 0.0, 'audio': 1.0})
    value, gradient = jax.value_and_grad(lambda scale: total(judged(task)(scale)))(1.0)
    assert value == 0
    assert gradient == 0


def test_the_fused_answer_weighs_1_unless_told_otherwise():
    with_streams = judged(dict(name='classification', stream_weights={'rgb': 0.0}))(1.0)
    np.testing.assert_array_equal(total(with_streams), total(judged(
        dict(name='classification'))(1.0)))


@pytest.mark.parametrize(('heads', 'message'), [
    (('rgb', 'audio'), "stream_weights names 'rbg': did you mean 'rgb'"),
    ((), 'config.model.stream_head = dict'),
])
def test_a_weight_of_a_stream_that_has_no_head(heads, message):
    with pytest.raises(UserError, match=message):
        judged(dict(name='classification', stream_weights={'rbg': 1.0}), heads)(1.0)


def test_names_are_judged_one_by_one_and_rows_without_them_do_not_count():
    target = np.array([[1, 0, 1], [0, 0, 0], [np.nan] * 3, [1, 1, 1]], np.float32)
    batch = {'mask': jnp.asarray(MASK), 'target/names': jnp.asarray(target)}
    loss = judged(dict(name='multi_label'), target='names', batch=batch)(1.0)
    p = 1 / (1 + np.exp(-LOGITS['fused'][:2]))
    expected = -(target[:2] * np.log(p) + (1 - target[:2]) * np.log(1 - p)).mean()
    np.testing.assert_allclose(total(loss), expected, rtol=1e-5)
    told = ((p > 0.5) == (target[:2] > 0)).all(1).mean()
    np.testing.assert_allclose(mean_of(loss.metrics['all_right']), told, rtol=1e-6)


def test_numbers_without_a_value_have_no_gradient():
    batch = {'mask': jnp.asarray(MASK), 'target/a': jnp.full(4, jnp.nan), 'target/b': jnp.asarray([1., 2, 3, 4]),
             'target/c': jnp.asarray([np.nan, 0, 0, 0])}
    loss = judged(dict(name='regression'), target=('a', 'b', 'c'), batch=batch)
    value, gradient = jax.value_and_grad(lambda scale: total(loss(scale)))(1.0)
    fused = LOGITS['fused']
    np.testing.assert_allclose(value, ((fused[:3, 1] - [1, 2, 3]) ** 2).mean() + (fused[1:3, 2] ** 2).mean(), rtol=1e-5)
    assert np.isfinite(gradient)
    np.testing.assert_allclose(mean_of(loss(1.0).metrics['mae_b']),
                               np.abs(fused[:3, 1] - [1, 2, 3]).mean(), rtol=1e-5)


def test_the_loss_of_numbers_does_not_depend_on_their_unit():
    def of(scale):
        numbers = np.array([3, 5, 7, np.nan, 9]) * scale
        objective = asked.described(dict(name='regression'), 'a', {
            'a': ['' if np.isnan(number) else str(number) for number in numbers.tolist()]})
        batch = {'mask': jnp.ones(4), 'target/a': jnp.asarray(numbers[[0, 1, 2, 4]], jnp.float32)}

        def apply(variables, batch, **_):
            return SimpleNamespace(logits=jnp.asarray(LOGITS['rgb'][:, :1])), {}

        loss = asked.loss(objective, apply, {}, batch)
        return total(loss), mean_of(loss.metrics['mae'])

    (one, error), (other, larger) = of(1.0), of(1000.0)
    np.testing.assert_allclose(one, other, rtol=1e-4)
    np.testing.assert_allclose(1000 * error, larger, rtol=1e-4)


def test_what_always_says_the_mean_has_the_loss_1():
    numbers = np.array([1.0, 2, 3, 10])
    objective = asked.described(dict(name='regression'), 'a', {'a': list(map(str, numbers))})
    batch = {'mask': jnp.ones(4), 'target/a': jnp.asarray(numbers, jnp.float32)}
    loss = asked.loss(objective, lambda *_, **__: (SimpleNamespace(logits=jnp.zeros((4, 1))), {}), {}, batch)
    np.testing.assert_allclose(total(loss), 1, rtol=1e-5)
    same = asked.described(dict(name='regression'), 'a', {'a': ['7.0'] * 3})
    assert same.scale('a') == (7, 1)


def test_a_head_for_every_token_is_of_no_use_to_a_task_of_clips():
    def apply(variables, batch, **_):
        return SimpleNamespace(logits=jnp.zeros((4, 5, 3))), {}

    with pytest.raises(UserError, match=r"config.model.head.name = 'consensus'"):
        asked.loss(asked.task(dict(name='classification'), 'label'), apply, {},
                   {'mask': jnp.ones(4), 'target/label': jnp.asarray(TARGET)})


def test_names_are_smoothed_over_all_of_them():
    target = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0], [1, 1, 1]], np.float32)
    batch = {'mask': jnp.asarray(MASK), 'target/label': jnp.asarray(target)}
    loss = judged(dict(name='multi_label', label_smoothing=0.3), batch=batch)(1.0)
    likely, wanted = 1 / (1 + np.exp(-LOGITS['fused'])), 0.7 * target + 0.3 / 3
    expected = -(wanted * np.log(likely) + (1 - wanted) * np.log(1 - likely))[:3].mean()
    np.testing.assert_allclose(total(loss), expected, rtol=1e-5)
