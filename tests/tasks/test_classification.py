from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks import asked
from vmmjax.errors import UserError
from vmmjax.training.objective import mean_of, total

LOGITS = np.asarray([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0], [1.0, 1.0, 1.0], [0.0, 4.0, 0.0]], np.float32)


def evaluate(objective, mask, target, logits=LOGITS):
    def apply(variables, batch, **_):
        return SimpleNamespace(logits=variables['params'] * batch['logits']), {}

    batch = {'logits': logits, 'target/label': jnp.asarray(target), 'mask': jnp.asarray(mask, jnp.float32)}
    return lambda scale: asked.loss(objective, apply, scale, batch)


def reference(logits, target, smoothing):
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = np.eye(3)[target] * (1 - smoothing) + smoothing / 3
    return -(wanted * log_p).sum(-1)


@given(st.lists(st.booleans(), min_size=4, max_size=4), st.lists(st.integers(-1, 2), min_size=4, max_size=4),
       st.sampled_from([0.0, 0.1]))
def test_the_mean_over_labelled_rows_that_are_no_padding(mask, target, smoothing):
    objective = asked.task(dict(name='classification', label_smoothing=smoothing), 'label')
    loss = evaluate(objective, mask, target)(jnp.ones(()))
    rows = [i for i in range(4) if mask[i] and target[i] >= 0]
    if not rows:
        assert total(loss) == 0
        return
    expected = reference(LOGITS[rows], np.asarray(target)[rows], smoothing)
    np.testing.assert_allclose(total(loss), expected.mean(), rtol=1e-5)
    hits = LOGITS[rows].argmax(-1) == np.asarray(target)[rows]
    np.testing.assert_allclose(mean_of(loss.metrics['accuracy']), hits.mean(), rtol=1e-6)


def test_mixed_clips_are_to_be_both():
    objective = asked.task(dict(name='classification', label_smoothing=0.1), 'label')
    target, other, share = np.array([0, 1, 2, 1]), np.array([1, 0, 0, -1]), np.array([0.3, 0.5, 1.0, 0.0], np.float32)

    def apply(variables, batch, **_):
        return SimpleNamespace(logits=variables['params'] * batch['logits']), {}

    batch = {'logits': LOGITS, 'target/label': jnp.asarray(target), 'mask': jnp.ones(4),
             'mix/target': jnp.asarray(other), 'mix/weight': jnp.asarray(share)}
    loss = asked.loss(objective, apply, jnp.ones(()), batch)
    expected = (1 - share) * reference(LOGITS, target, 0.1) + share * reference(LOGITS, other, 0.1)
    np.testing.assert_allclose(total(loss), expected.mean(), rtol=1e-5)


def test_nothing_to_learn_from_gives_zero_and_zero_gradients():
    loss = evaluate(asked.task(dict(name='classification'), 'label'), [0, 0, 0, 0], [0, 1, 2, 0])
    value, gradient = jax.value_and_grad(lambda scale: total(loss(scale)))(jnp.ones(()))
    assert value == 0
    assert gradient == 0


def test_rare_classes_weigh_more_where_asked_for():
    objective = asked.described(dict(name='classification', class_weights='balanced'), 'label',
                                {'label': ['a', 'a', 'a', 'b', 'c', 'c', '']})
    target = np.array([0, 1, 2, -1])
    loss = evaluate(objective, [1, 1, 1, 1], target)(jnp.ones(()))
    weights = 6 / (3 * np.array([3, 1, 2]))
    each = reference(LOGITS[:3], target[:3], 0.0)
    np.testing.assert_allclose(total(loss), (weights * each).sum() / weights.sum(), rtol=1e-5)
    hits = LOGITS[:3].argmax(-1) == target[:3]
    np.testing.assert_allclose(mean_of(loss.metrics['accuracy']), hits.mean(), rtol=1e-6)


@pytest.mark.parametrize('gamma', [0.5, 2.0])
def test_the_focal_loss_looks_away_from_what_is_told(gamma):
    target = np.array([0, 2, 1, 1])
    objective = asked.task(dict(name='classification', gamma=gamma), 'label')
    loss = evaluate(objective, [1] * 4, target)
    p = np.exp(-reference(LOGITS, target, 0.0))
    np.testing.assert_allclose(total(loss(jnp.ones(()))), (-(1 - p) ** gamma * np.log(p)).mean(), rtol=1e-5)
    # Where a class is certain, too.
    assert np.isfinite(jax.grad(lambda scale: total(loss(scale)))(jnp.float32(1e4)))


def test_several_targets_add_their_losses():
    target = {'word': np.array([0, 1, 2, -1]), 'digit': np.array([1, 0, 0, 1])}

    def apply(variables, batch, **_):
        return SimpleNamespace(logits={'word': jnp.asarray(LOGITS), 'digit': jnp.asarray(LOGITS[::-1])}), {}

    batch = {'mask': jnp.asarray([1, 1, 1, 1.]), **{f'target/{name}': jnp.asarray(x) for name, x in target.items()}}
    loss = asked.loss(asked.task(dict(name='classification'), ('word', 'digit')), apply, {}, batch)
    word = reference(LOGITS[:3], target['word'][:3], 0.0).mean()
    digit = reference(LOGITS[::-1], target['digit'], 0.0).mean()
    np.testing.assert_allclose(total(loss), word + digit, rtol=1e-5)
    np.testing.assert_allclose(mean_of(loss.terms['loss_word']), word, rtol=1e-5)
    right = (LOGITS.argmax(1) == target['word']) & (LOGITS[::-1].argmax(1) == target['digit'])
    np.testing.assert_allclose(mean_of(loss.metrics['all_right']), right[:3].mean(), rtol=1e-6)


def test_weights_by_class_need_the_targets_of_training():
    objective = asked.task(dict(name='classification', class_weights='balanced'), 'label')
    with pytest.raises(UserError, match='training split'):
        evaluate(objective, [1] * 4, [0] * 4)(jnp.ones(()))


@pytest.mark.parametrize(('task', 'message'), [
    (dict(name='classification', class_weights='balance'), "did you mean 'balanced'"),
    (dict(name='classification', gamma=-1.0), 'at least 0'),
    (dict(name='classification', facts=1), "no option 'facts'"),
    (dict(name='clasification'), "no task 'clasification': did you mean 'classification'"),
    (dict(name='classification', smoothing=0.1), "no option 'smoothing': did you mean 'label_smoothing'"),
    (dict(label_smoothing=0.1), 'has no name'),
])
def test_what_a_config_gets_wrong(task, message):
    with pytest.raises(UserError, match=message):
        asked.task(task, 'label')
