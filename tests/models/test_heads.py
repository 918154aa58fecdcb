import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.models.heads import Consensus
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
