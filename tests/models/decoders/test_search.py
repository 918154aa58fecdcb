import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.frames import FAST
from vmmjax.models.decoders import search
from vmmjax.models.decoders.vocabulary import END_ID, PAD_ID

VOCABULARY, LENGTH, ROWS = 5, 3, 2
TOKENS = [token for token in range(VOCABULARY) if token not in (PAD_ID, END_ID)]
PENALTIES = [('none', 0.0), ('gnmt', 0.6), ('power', 1.0)]


def scorer_of(table):
    """What follows depends on the row, the place and the last token: log-probabilities (B, L + 1, V, V)."""
    def step(ids, place, fixed, state):
        return fixed[jnp.arange(len(ids)), place, ids], state + 1

    return search.Scorer(VOCABULARY, table, jnp.zeros(len(table)), step)


def table_of(seed, scale=1.5):
    numbers = np.random.default_rng(seed).normal(0, scale, (ROWS, LENGTH + 1, VOCABULARY, VOCABULARY))
    numbers[..., PAD_ID] = -1e9
    return jax.nn.log_softmax(jnp.asarray(numbers, jnp.float32))


def log_probability(table, text):
    last, total = PAD_ID, 0.0
    for place, token in enumerate([*text, END_ID]):
        # A text of as many tokens as there may be ends: nothing else is left.
        total, last = total + float(table[place, last, token]), token
    return total


def exhaustive(table, penalty, alpha):
    texts = [text for length in range(LENGTH + 1) for text in itertools.product(TOKENS, repeat=length)]
    scores = {text: log_probability(table, text) / float(search.PENALTIES[penalty](jnp.array(len(text) + 1.0), alpha))
              for text in texts}
    return sorted(scores.items(), key=lambda each: -each[1])


def texts_of(found, row):
    return [tuple(token for token in ids if token != PAD_ID) for ids in found.ids[row].tolist()]


greedy = jax.jit(lambda table: search.greedy(scorer_of(table), LENGTH), compiler_options=FAST)


@partial(jax.jit, static_argnums=(1, 2, 3), compiler_options=FAST)
def beam(table, size, penalty, alpha):
    return search.beam(scorer_of(table), LENGTH, size, search.PENALTIES[penalty], alpha)


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_greedy_takes_the_likeliest_token_each_time(seed):
    table = table_of(seed)
    found = greedy(table)
    for row in range(ROWS):
        text, last = [], PAD_ID
        while len(text) < LENGTH and (last := int(np.argmax(table[row, len(text), last]))) != END_ID:
            text.append(last)
        assert texts_of(found, row) == [tuple(text)]
        assert float(found.score[row, 0]) == pytest.approx(log_probability(table[row], text), abs=1e-5)


@pytest.mark.parametrize(('penalty', 'alpha'), PENALTIES)
def test_a_beam_of_one_is_greedy(penalty, alpha):
    for seed in range(10):
        found = beam(table_of(seed), 1, penalty, alpha)
        np.testing.assert_array_equal(found.ids, greedy(table_of(seed)).ids)
        np.testing.assert_allclose(found.log_probability, greedy(table_of(seed)).score, atol=1e-5)


@pytest.mark.parametrize(('penalty', 'alpha'), PENALTIES)
def test_a_beam_of_all_is_exhaustive_search(penalty, alpha):
    table = table_of(1)
    found = beam(table, 64, penalty, alpha)
    for row in range(ROWS):
        known = exhaustive(table[row], penalty, alpha)
        count = len(known)
        assert count == 40
        assert texts_of(found, row)[:5] == [text for text, _ in known[:5]]
        np.testing.assert_allclose(found.score[row, :count], [score for _, score in known], atol=1e-5)
        assert np.isneginf(found.score[row, count:]).all()
        assert not found.ids[row, count:].any()


def test_penalties_are_those_that_are_named():
    count = jnp.array([1, 7])
    np.testing.assert_allclose(search.gnmt(count, 0.6), [1, 2 ** 0.6], rtol=1e-6)
    np.testing.assert_allclose(search.power(count, 1.0), [1, 7])
    np.testing.assert_allclose(search.no_penalty(count, 1.0), [1, 1])


def test_of_equal_texts_the_first_in_the_vocabulary_comes_first():
    even = jnp.full((ROWS, LENGTH + 1, VOCABULARY, VOCABULARY), -jnp.log(4.0))
    assert texts_of(beam(even, 3, 'none', 0.0), 0) == [(), (2,), (2, 2)]
    no_end = even.at[:, :LENGTH, :, END_ID].set(-1e9)
    assert texts_of(beam(no_end, 3, 'none', 0.0), 1) == [(2, 2, 2), (2, 2, 3), (2, 2, 4)]
    assert texts_of(greedy(no_end), 0) == [(2, 2, 2)]


def test_a_row_does_not_know_of_the_others():
    table = table_of(4)
    both, alone = beam(table, 3, 'gnmt', 0.6), beam(table[1:], 3, 'gnmt', 0.6)
    np.testing.assert_array_equal(both.ids[1:], alone.ids)
    np.testing.assert_allclose(both.score[1:], alone.score, atol=1e-6)


def test_any_lengths_are_one_program():
    traced = []

    @partial(jax.jit, compiler_options=FAST)
    def program(table):
        traced.append(1)
        return search.beam(scorer_of(table), LENGTH, 2), search.greedy(scorer_of(table), LENGTH)

    lengths = set()
    for bias in (-3.0, 0.0, 3.0):
        logits = table_of(0).at[..., END_ID].add(bias)
        lengths |= {len(texts_of(program(logits)[1], row)[0]) for row in range(ROWS)}
    assert len(lengths) > 1
    assert len(traced) == 1


def test_the_same_keys_draw_the_same_texts_and_as_often_as_they_are_likely():
    table, keys = table_of(2, 1.0), jax.random.split(jax.random.key(0), ROWS)
    draw = jax.jit(lambda keys: search.sample(scorer_of(table), LENGTH, 400, keys), compiler_options=FAST)
    found = draw(keys)
    np.testing.assert_array_equal(found.ids, draw(keys).ids)
    assert (found.ids != draw(jax.random.split(jax.random.key(1), ROWS)).ids).any()
    assert (np.diff(found.score, axis=1) <= 0).all()
    for row in range(ROWS):
        drawn = texts_of(found, row)
        first = [text[0] if text else END_ID for text in drawn]
        for token in (END_ID, *TOKENS):
            assert first.count(token) / 400 == pytest.approx(float(np.exp(table[row, 0, PAD_ID, token])), abs=0.08)
        assert float(found.log_probability[row, 7]) == pytest.approx(log_probability(table[row], drawn[7]), abs=1e-4)


def test_a_low_temperature_is_greedy():
    table = table_of(6)
    keys = jax.random.split(jax.random.key(0), ROWS)
    found = jax.jit(lambda: search.sample(scorer_of(table), LENGTH, 2, keys, temperature=1e-3), compiler_options=FAST)()
    for row in range(ROWS):
        assert texts_of(found, row) == texts_of(greedy(table), row) * 2
