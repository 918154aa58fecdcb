from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models import create_model
from vmmjax.models.recurrent import Recurrent

NAMES = {'lstm': dict(cell='lstm'), 'bilstm': dict(cell='lstm', bidirectional=True), 'gru': dict(cell='gru'),
         'bigru': dict(cell='gru', bidirectional=True), 'rnn': dict(cell='rnn')}
SIZES = dict(vocab_size=20, embedding_size=4, hidden_size=3, num_layers=2)


@cache
def built(name: str, dtype: Any = jnp.float32) -> tuple[Recurrent, Any, Any]:
    encoder = Recurrent(**NAMES[name], **SIZES, dtype=dtype)
    ids, valid = jnp.zeros((1, 4), jnp.int32), jnp.ones((1, 4), bool)
    variables = jax.jit(lambda: encoder.init(jax.random.key(0), ids, valid, False), compiler_options=FAST)()
    return encoder, variables, jax.jit(lambda v, ids, valid: encoder.apply(v, ids, valid, False)[0],
                                       compiler_options=FAST)


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def reference(words: Any, parameters: Any, cell: str) -> Any:
    """PyTorch's documented formulas, (L, D) -> (L, H)."""
    (wi, bi), (wh, bh) = ((np.asarray(parameters[key]['kernel'], np.float64), np.asarray(parameters[key]['bias']))
                          for key in ('input', 'hidden'))
    h = c = np.zeros(len(wh))
    states = []
    for x in words:
        given, kept = x @ wi + bi, h @ wh + bh
        if cell == 'lstm':
            i, f, g, o = np.split(given + kept, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
        elif cell == 'rnn':
            h = np.tanh(given + kept)
        else:
            (xr, xz, xn), (hr, hz, hn) = np.split(given, 3), np.split(kept, 3)
            n, z = np.tanh(xn + sigmoid(xr + hr) * hn), sigmoid(xz + hz)
            h = (1 - z) * n + z * h
        states.append(h)
    return np.stack(states)


@pytest.mark.parametrize('name', NAMES)
def test_states_are_those_of_the_formulas(name: str) -> None:
    encoder, variables, run = built(name)
    ids = np.random.default_rng(0).integers(0, 20, (2, 7))
    tokens = run(variables, ids, jnp.ones((2, 7), bool))
    assert tokens.x.shape == (2, 7, encoder.features)
    parameters = variables['params']
    for row, got in zip(ids, tokens.x, strict=True):
        x = np.asarray(parameters['word_embeddings']['embedding'], np.float64)[row]
        for layer in range(2):
            states = [reference(x, parameters[f'layer_{layer}_forward'], encoder.cell)]
            if encoder.bidirectional:
                states.append(reference(x[::-1], parameters[f'layer_{layer}_backward'], encoder.cell)[::-1])
            x = np.concatenate(states, -1)
        np.testing.assert_allclose(got, x, atol=1e-6)


@pytest.mark.parametrize('name', NAMES)
@settings(max_examples=20)
@given(st.lists(st.booleans(), min_size=9, max_size=9), st.integers(0, 19))
def test_padding_anywhere_changes_nothing(name: str, valid: list[bool], filler: int) -> None:
    _, variables, run = built(name)
    ids, mask = np.arange(9) + 5, np.array(valid)
    padded = run(variables, np.where(mask, ids, filler)[None], mask[None])
    # The same words without the padding, at the front of a row of the same length.
    alone = run(variables, np.pad(ids[mask], (0, 9 - mask.sum()))[None], np.arange(9)[None] < mask.sum())
    np.testing.assert_allclose(padded.x[0, mask], alone.x[0, :mask.sum()], atol=1e-6)
    np.testing.assert_array_equal(padded.mask[0], mask)
    assert not padded.x[0, ~mask].any()


@pytest.mark.parametrize('name', NAMES)
def test_gradients_are_finite_and_an_empty_row_gives_none(name: str) -> None:
    encoder, variables, _ = built(name)
    ids = jnp.arange(12).reshape(2, 6)

    def loss(variables: Any, valid: jax.Array) -> jax.Array:
        return (encoder.apply(variables, ids, valid, False)[0].x ** 2).sum()

    gradient = jax.jit(jax.grad(loss), compiler_options=FAST)
    some = gradient(variables, jnp.arange(6)[None] < jnp.array([6, 0])[:, None])
    assert all(np.isfinite(leaf).all() and leaf.any() for leaf in jax.tree.leaves(some))
    assert not some['params']['word_embeddings']['embedding'][6:].any()
    assert not any(leaf.any() for leaf in jax.tree.leaves(gradient(variables, jnp.zeros((2, 6), bool))))


@pytest.mark.parametrize('name', NAMES)
def test_jit_and_bfloat16_give_the_same(name: str) -> None:
    encoder, variables, run = built(name)
    ids, valid = jnp.arange(18).reshape(2, 9), jnp.ones((2, 9), bool)
    full = run(variables, ids, valid).x
    np.testing.assert_allclose(encoder.apply(variables, ids, valid, False)[0].x, full, atol=1e-6)
    half = built(name, jnp.bfloat16)[2](variables, ids, valid).x
    assert half.dtype == jnp.bfloat16
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.02 * np.abs(full).max())


def test_ids_outside_of_the_vocabulary_are_never_other_words() -> None:
    encoder, variables, run = built('gru')
    valid = jnp.ones((3, 2), bool)
    ids = jnp.array([[3, 20], [-1, 2], [0, 19]])
    assert np.isnan(run(variables, ids, valid).x).any((1, 2)).tolist() == [True, True, False]
    with pytest.raises(UserError, match='id 20, and the vocabulary has 20 words'):
        encoder.apply(variables, ids, valid, False)
    padded = encoder.apply(variables, ids, jnp.array([[True, False], [False, True], [True, True]]), False)[0].x
    assert np.isfinite(padded).all()


def test_names_make_models() -> None:
    for name, features in (('lstm', 512), ('bilstm', 1024), ('gru', 512)):
        model = create_model(name, vocab_size=10, num_classes=3)
        outputs, variables = jax.eval_shape(lambda model=model: model.init_with_output(
            jax.random.key(0), {'text': jnp.zeros((2, 5), jnp.int32)}, train=False))
        assert outputs.logits.shape == (2, 3)
        assert outputs.endpoints['text/tokens'].shape == (2, 5, features)
        assert variables['params']['encoders_text']['word_embeddings']['embedding'].shape == (10, 300)
    with pytest.raises(UserError, match="did you mean 'lstm'"):
        jax.eval_shape(lambda: create_model('lstm', cell='lsmt').init(
            jax.random.key(0), {'text': jnp.zeros((2, 5), jnp.int32)}, train=False))
