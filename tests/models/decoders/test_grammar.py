"""What is found under a grammar is the best of its texts, found by going through all of them."""

import itertools
import re
from functools import partial

import jax
import numpy as np
import pytest

from tests.models.decoders.test_search import LENGTH, ROWS, TOKENS, VOCABULARY, log_probability, scorer_of, table_of
from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models.decoders import search
from vmmjax.models.decoders.grammar import automaton
from vmmjax.models.decoders.vocabulary import PAD_ID

WORDS = ['[PAD]', '[END]', '[UNK]', 'red', 'now']
TEXTS = [text for length in range(LENGTH + 1) for text in itertools.product(TOKENS, repeat=length)]
GRID = ('(bin|lay|place|set) (blue|green|red|white) (at|by|in|with) (a|b|c) (one|two) (again|now|please|soon)')


def of(text, words=WORDS):
    return automaton(text, words, str.split)


def accepts(made, ids):
    state = 0
    for token in ids:
        state = made.following[state, token]
        if state < 0:
            return False
    return bool(made.following[state, 1] >= 0)


@pytest.mark.parametrize('text', [
    'red now', '(red|now)*', 'red? now+', '. red', '(red now)+|now', '.*', '(red|.) now?'])
def test_the_texts_of_a_grammar_are_those_of_the_regular_expression(text):
    made = of(text)
    # The same over letters: u(nknown), r(ed) and n(ow).
    letters = re.compile(text.replace('red', 'r').replace('now', 'n').replace(' ', ''))
    for ids in TEXTS:
        assert accepts(made, ids) == bool(letters.fullmatch(''.join('urn'[token - 2] for token in ids))), ids


@pytest.mark.parametrize('text', ['red now', '(red|now)* red', '.? now', 'now now now'])
def test_a_beam_of_all_finds_the_best_of_the_grammar(text):
    made = of(text)

    @partial(jax.jit, static_argnums=1, compiler_options=FAST)
    def beam(table, size):
        return search.beam(made.constrained(scorer_of(table), LENGTH), LENGTH, size)

    table = table_of(1)
    found, narrow = beam(table, len(TEXTS)), beam(table, 1)
    for row in range(ROWS):
        known = np.asarray(table[row])
        best = sorted(((log_probability(known, ids), ids) for ids in TEXTS if accepts(made, ids)), reverse=True)
        # Texts with as many tokens as there may be have nothing but their end left.
        texts = [tuple(token for token in ids if token != PAD_ID) for ids in found.ids[row].tolist()]
        assert texts[:len(best)] == [ids for _, ids in best]
        np.testing.assert_allclose(found.log_probability[row, :len(best)], [total for total, _ in best], rtol=1e-5)
        assert (np.asarray(found.log_probability[row, len(best):]) == -np.inf).all()
        # However narrow a beam is, what it finds is a text of the grammar.
        assert accepts(made, [token for token in narrow.ids[row, 0].tolist() if token != PAD_ID])


def test_a_grammar_of_all_is_none():
    made, table = of('.*'), table_of(2)

    @partial(jax.jit, static_argnums=1, compiler_options=FAST)
    def found(table, constrained):
        scorer = made.constrained(scorer_of(table), LENGTH) if constrained else scorer_of(table)
        keys = jax.random.split(jax.random.key(0), ROWS)
        return (search.greedy(scorer, LENGTH), search.beam(scorer, LENGTH, 4),
                search.sample(scorer, LENGTH, 3, keys))

    jax.tree.map(np.testing.assert_array_equal, found(table, True), found(table, False))


def test_sentences_of_grid():
    words = ['[PAD]', '[END]', '[UNK]', *re.findall(r'\w+', GRID)]
    made = of(GRID, words)

    def holds(sentence):
        return accepts(made, [words.index(word) for word in sentence.split()])

    assert holds('place red at b two now')
    assert not holds('place red at b two')
    assert not holds('red place at b two now')
    assert made.left[0] == 6


@pytest.mark.parametrize(('text', 'message'), [
    ('(red', r"grammar is '\(red', and a bracket is not closed"),
    ('red)', r"'\)' stands where nothing is expected"),
    ('* red', r"'\*' follows nothing"),
    ('blue', 'has no text of words that the vocabulary of the run has'),
])
def test_what_is_no_grammar(text, message):
    with pytest.raises(UserError, match=message):
        of(text)


def test_a_text_of_the_grammar_is_as_short_as_may_be_found():
    made = of('red now now?')
    made.check(2)
    with pytest.raises(UserError, match='shortest text has 2 tokens, and a text has at most 1'):
        made.check(1)


def test_brackets_in_brackets():
    assert accepts(of('(' * 40 + 'red' + ')' * 40), [3])
    with pytest.raises(UserError, match='brackets are nested too deeply'):
        of('(' * 3000 + 'red' + ')' * 3000)


def test_a_word_that_the_vocabulary_lacks_is_left_out():
    made = of('(red|blue) now')
    assert accepts(made, [3, 4])
    assert made.following.shape[1] == VOCABULARY
