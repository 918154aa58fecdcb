import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.frames import FAST
from vmmjax.errors import UserError
from vmmjax.models.heads import Attentive, Consensus
from vmmjax.models.tokens import Fused, Tokens


def test_a_token_that_stands_for_nothing_reaches_neither_logits_nor_gradients() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 4))
    mask = jnp.asarray([[True, True, False], [False, False, False]])
    head = Consensus(5, dropout=0.0)
    params = head.init(jax.random.key(1), Fused(Tokens(x, mask), x[:, 0]), False)

    def run(filling: float) -> tuple[jax.Array, jax.Array]:
        tokens = Tokens(jnp.where(mask[..., None], x, filling), mask)

        def loss(params: dict) -> tuple[jax.Array, jax.Array]:
            logits = head.apply(params, Fused(tokens, x[:, 0]), True)
            return (logits[:1] ** 2).sum(), logits
        return jax.grad(loss, has_aux=True)(params)

    (clean, logits), (dirty, same) = run(0.0), run(np.nan)
    assert jnp.isfinite(logits).all()
    np.testing.assert_array_equal(logits, same)
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    np.testing.assert_allclose(logits[0], x[0, :2].mean(0) @ params['params']['logits']['kernel'], atol=1e-5)
    np.testing.assert_array_equal(logits[1], 0)


def test_an_attentive_head_weighs_valid_tokens_by_what_its_query_asks() -> None:
    x = jax.random.normal(jax.random.key(0), (2, 3, 8))
    mask = jnp.asarray([[True, True, False], [False, False, False]])
    head = Attentive(5, dropout=0.0, num_attention_heads=2)
    params = jax.jit(lambda: head.init(jax.random.key(1), Fused(Tokens(x, mask), x[:, 0]), False),
                     compiler_options=FAST)()

    def of(filling: float) -> tuple[dict, jax.Array]:
        tokens = Tokens(jnp.where(mask[..., None], x, filling), mask)

        def loss(params: dict) -> tuple[jax.Array, jax.Array]:
            logits = head.apply(params, Fused(tokens, x[:, 0]), True)
            return (logits ** 2).sum(), logits
        return jax.jit(jax.grad(loss, has_aux=True), compiler_options=FAST)(params)

    (clean, logits), (dirty, same) = of(0.0), of(np.nan)
    np.testing.assert_array_equal(logits, same)
    jax.tree.map(np.testing.assert_array_equal, clean, dirty)
    np.testing.assert_array_equal(logits[1], 0)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(clean))
    # By hand, of the first row.
    part = params['params']

    def norm(y: jax.Array) -> jax.Array:
        return (y - y.mean(-1, keepdims=True)) / jnp.sqrt(y.var(-1, keepdims=True) + 1e-6)

    y = norm(x[0, :2])
    key, value = ((y @ part[name]['kernel']).reshape(2, 2, 4) for name in ('key', 'value'))
    weights = jax.nn.softmax(jnp.einsum('hd,mhd->hm', part['query'], key) / 2)
    seen = norm(jnp.einsum('hm,mhd->hd', weights, value).reshape(8) @ part['output']['kernel'])
    np.testing.assert_allclose(logits[0], seen @ part['logits']['kernel'], atol=1e-5)
    with pytest.raises(UserError, match='does not divide'):
        Attentive(5, num_attention_heads=3).init(jax.random.key(1), Fused(Tokens(x, mask), x[:, 0]), False)
