from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models.transformer import Block, Encoder, Positions, attend, heads

OPTIONS = dict(num_attention_heads=2, intermediate_size=12, pre_norm=True)
MASK = np.arange(5)[None] < np.array([5, 3, 1, 0])[:, None]


def inputs(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def softmax(x: Any) -> Any:
    return np.exp(x) / np.exp(x).sum(-1, keepdims=True)


def test_attention_is_the_formula_over_valid_keys() -> None:
    query, key, value = inputs(3, 4, 5, 2, 6)
    got = attend(query, key, value, MASK, lambda weights: weights)
    for row, count in enumerate(MASK.sum(1)):
        for head in range(2):
            q, k, v = (x[row, :, head].astype(np.float64) for x in (query, key, value))
            want = softmax(q @ k[:count].T / np.sqrt(6)) @ v[:count] if count else np.zeros((5, 6))
            np.testing.assert_allclose(got[row, :, head], want, atol=1e-6)
    full = attend(query, key, value, None, lambda weights: weights)
    np.testing.assert_array_equal(full[0], got[0])


def test_what_is_not_valid_has_no_influence_and_no_gradient() -> None:
    query, key, value = inputs(3, 4, 5, 2, 6)

    def loss(query: Any, key: Any, value: Any) -> Any:
        return (attend(query, key, value, MASK, lambda weights: weights) ** 2).sum()

    gradients = jax.grad(loss, (0, 1, 2))(query, key, value)
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    for gradient in gradients:
        assert not gradient[3].any()
    for gradient in gradients[1:]:
        assert not gradient[~MASK].any()
    other = np.where(MASK[..., None, None], key, 100), np.where(MASK[..., None, None], value, -100)
    np.testing.assert_allclose(attend(query, *other, MASK, lambda weights: weights),
                               attend(query, key, value, MASK, lambda weights: weights), atol=1e-6)


def block_by_hand(x: Any, p: Any, count: int, pre_norm: bool) -> Any:
    """One row (N, D) of a block of two heads in float64."""
    p = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), p)

    def norm(x: Any, p: Any) -> Any:
        return (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-12) * p['scale'] + p['bias']

    def dense(x: Any, p: Any) -> Any:
        return x @ p['kernel'] + p['bias']

    def attention(x: Any) -> Any:
        q, k, v = (np.split(dense(x, p['attention'][name]), 2, -1) for name in ('query', 'key', 'value'))
        mixed = [softmax(a @ b[:count].T / np.sqrt(a.shape[-1])) @ c[:count] for a, b, c in zip(q, k, v, strict=True)]
        return dense(np.concatenate(mixed, -1), p['attention']['output'])

    def perceptron(x: Any) -> Any:
        y = dense(x, p['intermediate'])
        return dense(y * (1 + erf(y / np.sqrt(2))) / 2, p['output'])

    for part, name in ((attention, 'attention_norm'), (perceptron, 'output_norm')):
        x = x + part(norm(x, p[name])) if pre_norm else norm(x + part(x), p[name])
    return x


@pytest.mark.parametrize('pre_norm', [True, False])
def test_a_block_is_the_formula(pre_norm: bool) -> None:
    block, x = Block(**OPTIONS | dict(pre_norm=pre_norm)), inputs(4, 5, 8)
    parameters = block.init(jax.random.key(0), x, MASK, False)['params']
    parameters = jax.tree.map(lambda leaf: leaf + 0.3 * jnp.cos(jnp.arange(leaf.size)).reshape(leaf.shape), parameters)
    got = jax.jit(lambda x: block.apply({'params': parameters}, x, MASK, False), compiler_options=FAST)(x)
    for row, count in enumerate(MASK.sum(1)[:3]):
        np.testing.assert_allclose(got[row], block_by_hand(x[row], parameters, count, pre_norm), atol=2e-5)
    assert np.isfinite(got).all()


@pytest.mark.slow
def test_remat_and_dropout_leave_the_values_of_a_network_that_does_not_train() -> None:
    x, results = inputs(4, 5, 8), []
    for remat in (False, True, 'products'):
        encoder = Encoder(2, remat, OPTIONS | dict(dropout=0.5))
        variables = encoder.init(jax.random.key(0), x, MASK, False)

        def loss(variables: Any, train: bool, encoder: Encoder = encoder) -> Any:
            y, endpoints = encoder.apply(variables, x, MASK, train, rngs={'dropout': jax.random.key(1)})
            return (y ** 2).sum(), endpoints

        run = jax.jit(jax.value_and_grad(loss, has_aux=True), static_argnums=1, compiler_options=FAST)
        results.append(run(variables, False))
        assert list(results[-1][0][1]) == ['layer_0', 'layer_1']
        assert run(variables, True)[0][0] != results[-1][0][0]
    for result in results[1:]:
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), result, results[0])


@pytest.mark.parametrize('pre_norm', [True, False])
def test_bfloat16(pre_norm: bool) -> None:
    x = inputs(4, 5, 16)
    encoders = [Encoder(3, False, OPTIONS | dict(pre_norm=pre_norm, dtype=dtype))
                for dtype in (jnp.float32, jnp.bfloat16)]
    variables = encoders[0].init(jax.random.key(0), x, MASK, False)
    full, half = (jax.jit(lambda x, encoder=encoder: encoder.apply(variables, x, MASK, False)[0],
                          compiler_options=FAST)(x) for encoder in encoders)
    np.testing.assert_allclose(half.astype(jnp.float32), full, atol=0.02 * np.abs(full).max())


@pytest.mark.parametrize('pre_norm', [True, False])
def test_stochastic_depth_drops_parts_of_later_blocks_for_whole_rows(pre_norm: bool) -> None:
    x = np.repeat(inputs(1, 5, 8), 64, 0)
    options = OPTIONS | dict(pre_norm=pre_norm)
    network = Encoder(3, False, options, stochastic_depth=0.5)
    variables = jax.jit(lambda: network.init(jax.random.key(0), x, None, False), compiler_options=FAST)()
    _, found = network.apply(variables, x, None, True, rngs={'dropout': jax.random.key(1)})
    kinds = [len(np.unique(np.round(np.asarray(found[f'layer_{i}']), 4), axis=0)) for i in range(3)]
    # Attention, perceptron, both or neither.
    assert kinds[:2] == [1, 4]
    if pre_norm:
        dropped = np.isclose(found['layer_1'], found['layer_0'], atol=1e-6).all((1, 2))
        assert 1 <= dropped.sum() <= 12  # One in sixteen.
    plain, _ = Encoder(3, False, options).apply(variables, x, None, False)
    np.testing.assert_array_equal(network.apply(variables, x, None, False)[0], plain)


def test_the_number_of_heads_is_published_or_asked_for() -> None:
    assert [heads(size, None, {384: 12}) for size in (128, 384, 768, 1024)] == [2, 12, 12, 16]
    assert heads(32, 4, {}) == 4
    for size in (32, 64, 100):
        with pytest.raises(UserError, match='set num_attention_heads'):
            heads(size, None, {})
    for number in (5, 0):
        with pytest.raises(UserError, match='does not divide'):
            heads(32, number, {})


def test_positions_of_another_number_are_an_error() -> None:
    positions, x = Positions(('cls_token',)), inputs(2, 5, 8)
    (y, mask), variables = positions.init_with_output(jax.random.key(0), x, np.zeros((2, 5), bool))
    assert y.shape == (2, 6, 8)
    np.testing.assert_array_equal(mask, [[True, *[False] * 5]] * 2)
    np.testing.assert_allclose(y[:, 1:], x + variables['params']['position_embeddings'][:, 1:])
    with pytest.raises(UserError, match='4 patches, and the network was made for 5'):
        positions.apply(variables, x[:, :4], None)


def test_an_unknown_activation_is_named() -> None:
    with pytest.raises(UserError, match="did you mean 'gelu'"):
        Block(**OPTIONS | dict(hidden_act='gel')).init(jax.random.key(0), inputs(1, 2, 8), None, False)


def test_every_query_may_have_keys_of_its_own() -> None:
    query, key, value = jax.random.normal(jax.random.key(0), (3, 1, 4, 2, 3))
    mask = jnp.array([[[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 1, 1, 1]]], bool)
    found = attend(query, key, value, mask, lambda weights: weights)
    for place, of_query in enumerate(mask[0]):
        alone = attend(query[:, place:place + 1], key, value, of_query[None], lambda weights: weights)
        np.testing.assert_allclose(found[:, place], alone[:, 0], atol=1e-6)
    assert not found[:, 2].any()
