from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tasks import asked
from vmmjax.errors import UserError
from vmmjax.training.objective import mean_of, total

TASK = dict(name='retrieval', streams=('rgb', 'audio'), temperature=0.5)
X = {name: np.random.default_rng(i).normal(size=(6, 5)).astype(np.float32) for i, name in enumerate(('rgb', 'audio'))}


def judged(present, mask=(1,) * 6, ids=range(6), x=X):
    def apply(variables, batch, **_):
        return SimpleNamespace(present={'rgb': jnp.ones(6, bool), 'audio': jnp.asarray(present, bool)},
                               stream_logits={name: variables['params'] * value for name, value in x.items()}), {}

    batch = {'mask': jnp.asarray(mask, jnp.float32), 'id': jnp.asarray(list(ids))}
    return lambda scale: asked.loss(asked.task(TASK, 'label'), apply, scale, batch)


def reference(rows, times=1):
    """Every wrong answer that many times."""
    one, other = (X[name][rows] / np.linalg.norm(X[name][rows], axis=1, keepdims=True) for name in ('rgb', 'audio'))
    alike = one @ other.T / 0.5
    counts = np.where(np.eye(len(rows), dtype=bool), 1, times)
    both = [np.log((counts * np.exp(x)).sum(1)) - np.diagonal(x) for x in (alike, alike.T)]
    return np.mean(both)


def test_only_rows_with_both_streams_ask_and_answer():
    loss = judged([1, 1, 0, 1, 1, 1], mask=[1, 1, 1, 1, 1, 0])(1.0)
    np.testing.assert_allclose(total(loss), reference([0, 1, 3, 4]), rtol=1e-5)


def test_the_length_of_an_embedding_does_not_matter():
    loss = judged([1] * 6)
    np.testing.assert_allclose(total(loss(1.0)), total(loss(7.0)), rtol=1e-5)


def test_a_clip_twice_in_a_batch_is_no_wrong_answer_to_itself():
    twice = {name: np.concatenate([value[:3], value[:3]]) for name, value in X.items()}
    loss = judged([1] * 6, ids=[0, 1, 2, 0, 1, 2], x=twice)(1.0)
    np.testing.assert_allclose(total(loss), reference([0, 1, 2], times=2), rtol=1e-5)


def test_nothing_to_compare_gives_zero_and_zero_gradients():
    zeros = {name: np.zeros_like(value) for name, value in X.items()}
    for present, x in (([0] * 6, X), ([1] * 6, zeros)):
        value, gradient = jax.value_and_grad(lambda scale, p=present, x=x: total(
            judged(p, x=x)(scale)))(1.0)
        assert np.isfinite(value)
        assert gradient == 0


def test_the_right_ones_are_counted():
    same = {'rgb': X['rgb'], 'audio': X['rgb']}
    assert mean_of(judged([1] * 6, x=same)(1.0).metrics['recall1']) == 1


@pytest.mark.parametrize('streams', [(), ('rgb',), ('rgb', 'rgb')])
def test_two_streams_are_needed(streams):
    with pytest.raises(UserError, match='name the two streams'):
        asked.task(dict(name='retrieval', streams=streams), 'label')


def test_a_stream_without_a_head():
    with pytest.raises(UserError, match=r"config.task.streams names 'audio'"):
        judged([1] * 6, x={'rgb': X['rgb']})(1.0)
