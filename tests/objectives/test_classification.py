from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax import objectives
from vmmjax.errors import UserError

LOGITS = np.asarray([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0], [1.0, 1.0, 1.0], [0.0, 4.0, 0.0]], np.float32)


def evaluate(objective, mask, target, logits=LOGITS):
    def apply(variables, batch, **_):
        return SimpleNamespace(logits=variables['params'] * batch['logits']), {}

    batch = {'logits': logits, 'target/label': jnp.asarray(target), 'mask': jnp.asarray(mask, jnp.float32)}
    return lambda scale: objective(apply, scale, {}, batch, jax.random.key(0))


def reference(logits, target, smoothing):
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    wanted = np.eye(3)[target] * (1 - smoothing) + smoothing / 3
    return -(wanted * log_p).sum(-1)


@given(st.lists(st.booleans(), min_size=4, max_size=4), st.lists(st.integers(-1, 2), min_size=4, max_size=4),
       st.sampled_from([0.0, 0.1]))
def test_the_mean_over_labelled_rows_that_are_no_padding(mask, target, smoothing):
    objective = objectives.create(dict(name='classification', label_smoothing=smoothing), 'label')
    loss = evaluate(objective, mask, target)(jnp.ones(()))
    rows = [i for i in range(4) if mask[i] and target[i] >= 0]
    if not rows:
        assert objectives.total(loss) == 0
        return
    expected = reference(LOGITS[rows], np.asarray(target)[rows], smoothing)
    np.testing.assert_allclose(objectives.total(loss), expected.mean(), rtol=1e-5)
    hits = LOGITS[rows].argmax(-1) == np.asarray(target)[rows]
    np.testing.assert_allclose(objectives.mean_of(loss.metrics['accuracy']), hits.mean(), rtol=1e-6)


def test_mixed_clips_are_to_be_both():
    objective = objectives.create(dict(name='classification', label_smoothing=0.1), 'label')
    target, other, share = np.array([0, 1, 2, 1]), np.array([1, 0, 0, -1]), np.array([0.3, 0.5, 1.0, 0.0], np.float32)

    def apply(variables, batch, **_):
        return SimpleNamespace(logits=variables['params'] * batch['logits']), {}

    batch = {'logits': LOGITS, 'target/label': jnp.asarray(target), 'mask': jnp.ones(4),
             'mix/target': jnp.asarray(other), 'mix/weight': jnp.asarray(share)}
    loss = objective(apply, jnp.ones(()), {}, batch, jax.random.key(0))
    expected = (1 - share) * reference(LOGITS, target, 0.1) + share * reference(LOGITS, other, 0.1)
    np.testing.assert_allclose(objectives.total(loss), expected.mean(), rtol=1e-5)


def test_nothing_to_learn_from_gives_zero_and_zero_gradients():
    loss = evaluate(objectives.create(dict(name='classification'), 'label'), [0, 0, 0, 0], [0, 1, 2, 0])
    value, gradient = jax.value_and_grad(lambda scale: objectives.total(loss(scale)))(jnp.ones(()))
    assert value == 0
    assert gradient == 0


@pytest.mark.parametrize(('task', 'message'), [
    (dict(name='clasification'), "no task 'clasification': did you mean 'classification'"),
    (dict(name='classification', smoothing=0.1), "no option 'smoothing': did you mean 'label_smoothing'"),
    (dict(label_smoothing=0.1), 'has no name'),
])
def test_what_a_config_gets_wrong(task, message):
    with pytest.raises(UserError, match=message):
        objectives.create(task, 'label')
