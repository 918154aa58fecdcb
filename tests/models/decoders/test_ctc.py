import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special

from tests.models.frames import FAST
from vmmjax.models.decoders import ctc, search
from vmmjax.models.decoders.vocabulary import END_ID, PAD_ID

FRAMES, VOCABULARY, LONGEST = 5, 4, 3
TOKENS = [token for token in range(VOCABULARY) if token not in (PAD_ID, END_ID)]
TEXTS = [text for length in range(LONGEST + 1) for text in itertools.product(TOKENS, repeat=length)]


def logits_of(seed, rows=1):
    return ctc.without_end(jnp.asarray(np.random.default_rng(seed).normal(0, 2, (rows, FRAMES, VOCABULARY)),
                                       jnp.float32))


def collapsed(path):
    merged = [token for token, _ in itertools.groupby(path)]
    return tuple(token for token in merged if token != PAD_ID)


def by_paths(logits, mask):
    """The probability of every text, by going through all paths of the valid frames."""
    says = special.softmax(np.asarray(logits, np.float64), axis=-1)[np.asarray(mask)]
    found = {}
    for path in itertools.product(range(VOCABULARY), repeat=len(says)):
        text = collapsed(path)
        found[text] = found.get(text, 0.0) + float(np.prod([p[token] for p, token in zip(says, path, strict=True)]))
    return found


def padded(texts, fill=-1, length=LONGEST):
    return jnp.array([[*text, *[fill] * (length - len(text))] for text in texts], jnp.int32)


losses = jax.jit(ctc.losses, compiler_options=FAST)
best_path = jax.jit(ctc.best_path, static_argnums=2, compiler_options=FAST)
greedy = jax.jit(ctc.greedy, static_argnums=2, compiler_options=FAST)


@partial(jax.jit, static_argnums=(2, 3), compiler_options=FAST)
def beam(logits, mask, length, size):
    return search.beam(ctc.scorer(logits, mask), length, size)


@pytest.mark.parametrize(('text', 'frames'), [((), 0), ((2,), 1), ((2, 3), 2), ((2, 2), 3), ((2, 2, 2, 3, 3), 8)])
def test_a_blank_stands_between_equal_tokens(text, frames):
    assert ctc.frames_needed(text) == frames


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 1000), mask=st.lists(st.booleans(), min_size=FRAMES, max_size=FRAMES))
def test_the_loss_is_that_of_all_paths_of_the_valid_frames(seed, mask):
    logits = logits_of(seed)
    known = by_paths(logits[0], mask)
    texts = [text for text in TEXTS if text]
    found, fits = losses(jnp.repeat(logits, len(texts), 0), jnp.broadcast_to(jnp.array(mask), (len(texts), FRAMES)),
                         padded(texts))
    for text, loss, fit in zip(texts, found.tolist(), fits.tolist(), strict=True):
        assert fit == (known.get(text, 0) > 0) == (ctc.frames_needed(text) <= sum(mask))
        if fit:
            assert loss == pytest.approx(-np.log(known[text]), abs=1e-4)


def test_what_does_not_fit_costs_nothing_and_has_no_gradient():
    mask = jnp.array([[True] * FRAMES, [True, True] + [False] * 3, [False] * FRAMES])
    texts = padded([(2, 3), (2, 2), (2,)])
    logits = logits_of(0, 3)
    value, gradient = jax.jit(jax.value_and_grad(lambda x: ctc.losses(x, mask, texts)[0].sum()))(logits)
    assert np.isfinite(value)
    assert np.abs(gradient[0]).max() > 0
    assert not np.asarray(gradient[1:]).any()
    assert losses(logits, mask, padded([(2, 3), (2, 2), ()]))[1].tolist() == [True, False, False]


@settings(max_examples=20, deadline=None)
@given(path=st.lists(st.sampled_from([PAD_ID, *TOKENS]), min_size=FRAMES, max_size=FRAMES),
       mask=st.lists(st.booleans(), min_size=FRAMES, max_size=FRAMES))
def test_the_best_path_is_merged_then_loses_its_blanks(path, mask):
    logits = jax.nn.one_hot(jnp.array([path]), VOCABULARY)
    text = collapsed([token for token, there in zip(path, mask, strict=True) if there])
    found = best_path(logits, jnp.array([mask]), LONGEST)
    np.testing.assert_array_equal(found, padded([text[:LONGEST]], PAD_ID))


@pytest.mark.parametrize('mask', [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 1, 0, 1], [0, 0, 0, 0, 0]])
def test_a_beam_of_all_finds_every_text_with_its_probability(mask):
    logits, mask = logits_of(3), jnp.array([mask], bool)
    known = {text: p for text, p in by_paths(logits[0], mask[0]).items() if p > 0}
    found = beam(logits, mask, FRAMES, 64)
    texts = {tuple(token for token in ids if token != PAD_ID): np.exp(total) for ids, total in zip(
        found.ids[0].tolist(), found.log_probability[0].tolist(), strict=True) if np.isfinite(total)}
    assert texts.keys() == known.keys()
    for text, probability in known.items():
        assert texts[text] == pytest.approx(probability, abs=1e-5)
    assert sum(texts.values()) == pytest.approx(1, abs=1e-5)


def test_the_likeliest_text_is_found_where_the_best_path_misses_it():
    # Blank .6, a .4 in both frames: the best path is silent with .36, and `a` has .64 by three paths.
    logits = jnp.log(jnp.array([[[0.6, 1e-9, 0.4]] * 2]))
    mask = jnp.ones((1, 2), bool)
    assert greedy(logits, mask, 2).ids.tolist() == [[[PAD_ID, PAD_ID]]]
    np.testing.assert_allclose(np.exp(greedy(logits, mask, 2).score), [[0.36]], rtol=1e-5)
    found = beam(logits, mask, 2, 2)
    assert found.ids[0, 0].tolist() == [2, PAD_ID]
    np.testing.assert_allclose(np.exp(found.score[0]), [0.64, 0.36], rtol=1e-5)


def test_greedy_says_the_probability_of_its_text():
    logits, mask = logits_of(5, 4), jnp.array([[1, 1, 1, 1, 1], [1, 1, 1, 1, 1], [1, 0, 1, 1, 1], [0] * 5], bool)
    found = greedy(logits, mask, FRAMES)
    for row in range(4):
        text = tuple(token for token in found.ids[row, 0].tolist() if token != PAD_ID)
        assert float(np.exp(found.score[row, 0])) == pytest.approx(by_paths(logits[row], mask[row])[text], abs=1e-5)


def test_padded_frames_change_nothing():
    logits, mask = logits_of(7, 2), jnp.ones((2, FRAMES), bool)
    longer = jnp.pad(logits, ((0, 0), (0, 4), (0, 0)), constant_values=7.0)
    there = jnp.pad(mask, ((0, 0), (0, 4)))
    texts = padded([(2, 3), (3,)])
    np.testing.assert_allclose(losses(logits, mask, texts)[0], losses(longer, there, texts)[0], atol=1e-5)
    short, long = (beam(x, valid, LONGEST, 4) for x, valid in ((logits, mask), (longer, there)))
    np.testing.assert_array_equal(short.ids, long.ids)
    np.testing.assert_allclose(short.score, long.score, atol=1e-5)
