"""The axioms of Shapley values, of any game and of the models with each fusion."""

from typing import Any

import hypothesis
import hypothesis.extra.numpy as arrays
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

from tests.models.frames import FAST
from tests.models.test_multimodal import KINDS, SHAPES, SMALL, STAGED
from vmmjax.errors import UserError
from vmmjax.explain.score import of_logits
from vmmjax.explain.streams import coalition_scores, coalitions, shapley
from vmmjax.models import create

GAMES = strategies.integers(1, 6).flatmap(lambda count: arrays.arrays(
    np.float64, (2 ** count, 3), elements=strategies.floats(-1e3, 1e3, width=32)))
# Compiled quickly, and with every number of streams.
QUICK = [('sum', 4), ('gated', 3), ('concat', 2)]
FUSIONS = QUICK + [(kind, 2) for kind in ('weighted_average', *KINDS) if kind not in ('sum', 'gated')]


@hypothesis.given(GAMES)
def test_values_share_out_what_all_add_to_none(values: np.ndarray) -> None:
    np.testing.assert_allclose(shapley(values).sum(0), values[-1] - values[0], rtol=1e-12, atol=1e-9)


@hypothesis.given(GAMES, strategies.data())
def test_who_changes_nothing_has_nothing_and_equals_have_the_same(values: np.ndarray, data: Any) -> None:
    count = len(values).bit_length() - 1
    dummy = data.draw(strategies.integers(0, count - 1))
    without = values[[k & ~(1 << dummy) for k in range(len(values))]]
    np.testing.assert_array_equal(shapley(without)[dummy], 0)
    if count > 1:
        other = (dummy + 1) % count

        def swapped(k: int) -> int:
            first, second = k >> dummy & 1, k >> other & 1
            return k & ~(1 << dummy | 1 << other) | first << other | second << dummy

        alike = values + values[[swapped(k) for k in range(len(values))]]
        found = shapley(alike)
        np.testing.assert_allclose(found[dummy], found[other], atol=1e-9)


def test_additive_games_are_shared_out_by_their_parts() -> None:
    values = np.array([sum({'a': 1.0, 'b': 20.0, 'c': 300.0}[name] for name in chosen)
                       for chosen in coalitions('abc')])
    np.testing.assert_allclose(shapley(values), [1, 20, 300])


def test_more_streams_than_can_be_counted_are_refused() -> None:
    assert len(coalitions('abcdef')) == 64
    with pytest.raises(UserError, match='up to 6 streams'):
        coalitions('abcdefg')


def model_of(kind: str, count: int, equal: bool = False) -> tuple[Any, Any, Any]:
    """A model, its variables and a batch of five clips."""
    names = tuple('acde'[:count])
    options = dict(name=kind, **KINDS.get(kind, {}))
    if kind == 'hierarchical':
        options['endpoints'] = dict.fromkeys(names[:2], ('first', 'second'))
    encoders = dict.fromkeys(names, STAGED if kind == 'hierarchical' else SMALL)
    model = create(dict(encoders=encoders, fusion=options, head=dict(name='consensus'),
                        preprocess=dict.fromkeys(encoders, 'none')), 3)
    random = np.random.default_rng(0)
    shapes = {**SHAPES, 'e': (3, 4)}
    batch = {name: random.normal(size=(5, *shapes['a' if equal else name])).astype(np.float32) for name in names}
    variables = jax.jit(lambda key: model.init(key, batch, train=False), compiler_options=FAST)(jax.random.key(0))
    return model, jax.tree.map(lambda leaf: leaf + 0.1 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape),
                               variables), batch


@pytest.mark.parametrize(('kind', 'count'), [
    pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in FUSIONS])
def test_the_values_of_every_fusion(kind: str, count: int) -> None:
    model, variables, batch = model_of(kind, count)
    names = list(model.encoders)
    batch[f'present/{names[0]}'] = np.array([1, 1, 1, 0, 0], bool)
    scores = np.asarray(coalition_scores(of_logits(model), names)(variables, batch, jnp.array([0, 1, 2, 1, 0])))
    assert scores.shape == (2 ** count, 5)
    assert not scores[0].any(), 'nothing says nothing'
    whole = jax.jit(lambda *given: model.apply(*given, train=False).logits, compiler_options=FAST)(variables, batch)
    expected = whole[np.arange(5), [0, 1, 2, 1, 0]]
    np.testing.assert_allclose(scores[-1], expected, rtol=1e-5, atol=1e-5)
    values = shapley(scores)
    np.testing.assert_allclose(values.sum(0), scores[-1].astype(np.float64) - scores[0], atol=1e-9)
    assert np.abs(values[0, :3]).min() > 0
    np.testing.assert_array_equal(values[0, 3:], 0)  # What is absent anyway says nothing.


def test_equal_streams_have_equal_values_and_one_without_weights_has_none() -> None:
    model, variables, batch = model_of('sum', 3, equal=True)
    params = dict(variables['params'])
    fusion = dict(params['fusion'])
    params['encoders_c'], fusion['project_c'] = params['encoders_a'], fusion['project_a']
    fusion['project_d'] = jax.tree.map(jnp.zeros_like, fusion['project_d'])
    # What a head says of any features, its offset, is there with any stream: it would be shared among all.
    head = {'logits': {**params['head']['logits'], 'bias': jnp.zeros(3)}}
    statistics = {**variables['batch_stats'], 'encoders_c': variables['batch_stats']['encoders_a']}
    changed = {'params': {**params, 'fusion': fusion, 'head': head}, 'batch_stats': statistics}
    batch['c'] = batch['a']
    scores = np.asarray(coalition_scores(of_logits(model), list('acd'))(changed, batch, jnp.zeros(5, jnp.int32)))
    first, second, nothing = shapley(scores)
    np.testing.assert_allclose(first, second, rtol=1e-6)
    assert np.abs(first).max() > 0.01
    np.testing.assert_array_equal(nothing, 0)
