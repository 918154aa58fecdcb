"""What every decoder promises: the same said one token after another as at once, and nothing of what is not there."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models.decoders import DECODERS, Writer, search
from vmmjax.models.decoders.recurrent import RecurrentDecoder
from vmmjax.models.decoders.vocabulary import END_ID
from vmmjax.models.decoders.writer import Context
from vmmjax.models.tokens import Tokens

VOCABULARY, LENGTH = 6, 4
# The plain network and the LSTM differ from the GRU by their cell alone.
NAMES = [pytest.param(name, marks=pytest.mark.slow) if name in ('lstm', 'rnn') else name for name in DECODERS]
SMALL = {'transformer': dict(num_layers=2, num_attention_heads=2, intermediate_size=8)}
MASK = jnp.array([[True] * 5, [True, True, False, True, False], [False] * 5])
IDS = jnp.array([[2, 3, 0, 0], [4, 0, 0, 0], [5, 5, 5, 5]])
MEMORY = jnp.where(MASK[..., None], jax.random.normal(jax.random.key(0), (3, 5, 7)), jnp.nan)


@cache
def built(name):
    """A writer, its parameters, larger than they are drawn so that texts differ, and its compiled answer."""
    decoder = DECODERS[name](vocabulary=VOCABULARY, hidden_size=8, **SMALL.get(name, {}))
    writer = Writer(VOCABULARY, Context(hidden_size=3, num_layers=1), decoder)
    params = jax.jit(lambda: writer.init(jax.random.key(1), Tokens(MEMORY, MASK), IDS, False)['params'],
                     compiler_options=FAST)()
    params = jax.tree.map(lambda x: 3 * x, params)

    def run(memory, mask, ids):
        return writer.apply({'params': params}, Tokens(memory, mask), ids, False)

    return writer, params, run, jax.jit(run, compiler_options=FAST)


@cache
def found(name, weight):
    writer, params, run, _ = built(name)

    @partial(jax.jit, compiler_options=FAST)
    def best(memory, mask):
        scorer = writer.scorer(params, run(memory, mask, None), weight, LENGTH)
        return search.beam(scorer, LENGTH, 3, search.gnmt, 0.6)

    return best


@pytest.mark.parametrize('name', NAMES)
def test_it_says_of_its_own_text_what_it_said_while_writing(name):
    *_, run = built(name)
    texts = found(name, 0.0)(MEMORY, MASK)
    for place in range(3):
        ids = np.asarray(texts.ids[:, place])
        says = special.log_softmax(np.asarray(run(MEMORY, MASK, jnp.asarray(ids)).decoder), axis=-1)
        for row, text in enumerate(ids):
            said = [*text[text > 0], END_ID]
            assert texts.log_probability[row, place] == pytest.approx(
                sum(says[row, i, token] for i, token in enumerate(said)), abs=1e-4, rel=1e-5)


@pytest.mark.parametrize(('name', 'weight'), [
    ('transformer', 0.0), ('gru', 0.3),
    *(pytest.param(name, 0.0, marks=pytest.mark.slow) for name in ('gru', 'lstm', 'rnn'))])
def test_padding_changes_nothing(name, weight):
    longer = jnp.pad(MEMORY, ((0, 0), (0, 3), (0, 0)), constant_values=jnp.nan)
    short, long = found(name, weight)(MEMORY, MASK), found(name, weight)(longer, jnp.pad(MASK, ((0, 0), (0, 3))))
    np.testing.assert_array_equal(short.ids[:2], long.ids[:2])
    np.testing.assert_allclose(short.score[:2], long.score[:2], atol=1e-5)
    assert not np.isnan(short.score).any()


@pytest.mark.parametrize('name', NAMES)
def test_what_comes_later_is_not_seen(name):
    *_, run = built(name)
    before, after = (run(MEMORY, MASK, ids).decoder for ids in (IDS, IDS.at[:, 2].set(3)))
    np.testing.assert_allclose(before[:, :3], after[:, :3], atol=1e-6)
    assert np.abs(np.asarray(before - after)[0, 3:]).max() > 1e-3


@pytest.mark.parametrize('name', NAMES)
def test_a_clip_of_nothing_has_no_gradient(name):
    _, _, run, _ = built(name)
    gradient = jax.jit(jax.grad(lambda memory: jax.nn.log_softmax(
        run(memory, MASK, IDS).decoder)[..., 2:].sum()), compiler_options=FAST)(MEMORY)
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[~np.asarray(MASK)].any()
    assert np.abs(gradient[0]).max() > 0


def test_both_are_the_weighted_sum_of_each():
    writer, params, run, _ = built('gru')

    @partial(jax.jit, compiler_options=FAST)
    def first():
        written = run(MEMORY[:2], MASK[:2], None)
        scorers = [writer.scorer(params, written, weight, LENGTH) for weight in (1.0, 0.3, 0.0)]
        return [each.step(jnp.zeros(2, jnp.int32), jnp.int32(0), each.fixed, each.state)[0] for each in scorers]

    says = first()
    tokens = slice(2, None)
    np.testing.assert_allclose(says[1][:, tokens], 0.3 * says[0][:, tokens] + 0.7 * says[2][:, tokens], rtol=1e-5)


def test_padding_is_no_token_and_the_end_none_of_ctc():
    *_, run = built('gru')
    written = run(MEMORY, MASK, IDS)
    assert float(jax.nn.softmax(written.decoder)[..., 0].max()) == 0
    assert float(jax.nn.softmax(written.ctc)[..., 1].max()) == 0


def test_ctc_alone_has_no_decoder():
    writer = Writer(VOCABULARY)
    written, variables = jax.jit(lambda: writer.init_with_output(jax.random.key(0), Tokens(MEMORY, MASK), IDS, False),
                                 compiler_options=FAST)()
    assert variables['params'].keys() == {'ctc'}
    assert written.decoder is None
    assert np.isfinite(written.ctc).all()


def test_an_unknown_cell():
    with pytest.raises(UserError, match="There is no recurrent cell 'grue': did you mean 'gru'"):
        RecurrentDecoder(VOCABULARY, cell='grue').init(jax.random.key(0), IDS, Tokens(MEMORY, MASK), False)
