from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.tasks import asked
from vmmjax.errors import UserError
from vmmjax.tasks.events import token_targets
from vmmjax.training.objective import total


@given(st.sampled_from([1, 5, 12]), st.floats(0.5, 20),
       st.lists(st.floats(-5, 25), min_size=4, max_size=4, unique=True))
def test_a_token_is_part_of_an_event_that_fills_half_of_it(tokens, seconds, times):
    first, second, third, fourth = sorted(times)
    events = np.array([[[first, second], [third, fourth]]])
    found = np.asarray(token_targets(jnp.asarray(events), jnp.asarray([seconds]), tokens))[0]
    moments = np.linspace(0, seconds, 1 + 2000 * tokens)[:-1] + seconds / tokens / 4000
    inside = ((moments[:, None] >= events[0, :, 0]) & (moments[:, None] < events[0, :, 1])).any(1)
    share = inside.reshape(tokens, -1).mean(1)
    clear = np.abs(share - 0.5) > 0.01
    np.testing.assert_array_equal(found[clear], share[clear] > 0.5)


def test_what_is_exactly_half_counts():
    target = token_targets(jnp.asarray([[[0.0, 0.3]]]), jnp.asarray([1.2]), 2)
    np.testing.assert_array_equal(target, [[1, 0]])


def test_the_loss_is_over_tokens_that_are_there_and_rows_that_are_labelled():
    logits = np.random.default_rng(0).normal(size=(3, 4, 1)).astype(np.float32)
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]], bool)
    events = np.array([[[0, 1], [0, 0]], [[0, 0], [0, 0]], [[np.nan] * 2] * 2], np.float32)
    batch = {'mask': jnp.ones(3), 'target/events': jnp.asarray(events),
             'target/window': jnp.asarray([[5, 4], [0, 4], [np.nan, np.nan]], jnp.float32)}

    def apply(variables, batch, **_):
        return SimpleNamespace(logits=variables['params'] * logits, mask=jnp.asarray(mask)), {}

    objective = asked.task(dict(name='events'), ('from', 'to'))
    value, gradient = jax.value_and_grad(lambda scale: total(
        asked.loss(objective, apply, scale, batch)))(1.0)
    p = 1 / (1 + np.exp(-logits[..., 0]))
    each = [-np.log(p[0, 0]), -np.log(1 - p[0, 1]), *-np.log(1 - p[1])]
    np.testing.assert_allclose(value, np.mean(each), rtol=1e-5)
    assert np.isfinite(gradient)


def test_thresholds_are_checked():
    with pytest.raises(UserError, match=r'low=0.6 and high=0.5'):
        asked.task(dict(name='events', low=0.6), 'label')
