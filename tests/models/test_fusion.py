import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.models import Fused, Tokens
from vmmjax.models.fusion import Concat, WeightedAverage
from vmmjax.models.heads import Consensus

PRESENT = {'a': jnp.asarray([1, 1, 0, 0], bool), 'b': jnp.asarray([1, 0, 1, 0], bool)}


def tokens(name: str, count: int, size: int) -> Tokens:
    x = jnp.asarray(np.random.default_rng(size).normal(size=(4, count, size)), jnp.float32)
    return Tokens(x, jnp.broadcast_to(PRESENT[name][:, None], (4, count)))


BOTH = {'a': tokens('a', 3, 5), 'b': tokens('b', 2, 7)}


def test_mean_is_over_valid_tokens() -> None:
    x = jnp.asarray([[[1.0], [3.0], [jnp.nan]], [[jnp.nan]] * 3])
    mask = jnp.asarray([[1, 1, 0], [0, 0, 0]], bool)
    np.testing.assert_array_equal(Tokens(x, mask).mean(), [[2], [0]])


def test_concat_puts_a_learned_vector_where_a_stream_is_absent() -> None:
    fusion = Concat(('a', 'b'))
    params = {'params': {'absent_a': jnp.full(5, 2.0), 'absent_b': jnp.full(7, 3.0)}}
    fused = fusion.apply(params, BOTH, PRESENT)
    assert fused.features.shape == (4, 12)
    np.testing.assert_allclose(fused.features[0], np.concatenate([BOTH['a'].x[0].mean(0), BOTH['b'].x[0].mean(0)]),
                               rtol=1e-5)
    np.testing.assert_array_equal(fused.features[1, 5:], 3)
    np.testing.assert_array_equal(fused.features[2, :5], 2)
    np.testing.assert_array_equal(fused.features[3], 0)
    np.testing.assert_array_equal(fused.tokens.mask[:, 0], [1, 1, 1, 0])


def test_concat_of_one_stream_passes_its_tokens() -> None:
    fused = Concat(('a',)).apply({}, BOTH, PRESENT)
    np.testing.assert_array_equal(fused.tokens.x, BOTH['a'].x)
    np.testing.assert_array_equal(fused.features, BOTH['a'].mean())


def test_weights_are_renormalised_over_present_streams() -> None:
    fusion = WeightedAverage(('a', 'b'), features=6)
    variables = fusion.init(jax.random.key(0), BOTH, PRESENT)
    params = variables['params'] | {'scores': jnp.log(jnp.asarray([3.0, 1.0]))}

    def project(name: str) -> jax.Array:
        return BOTH[name].mean() @ params[f'project_{name}']['kernel'] + params[f'project_{name}']['bias']

    fused = fusion.apply({'params': params}, BOTH, PRESENT)
    a, b = project('a'), project('b')
    expected = jnp.stack([0.75 * a[0] + 0.25 * b[0], a[1], b[2], jnp.zeros(6)])
    np.testing.assert_allclose(fused.features, expected, rtol=1e-5, atol=1e-6)


def test_consensus_averages_scores_of_valid_tokens() -> None:
    x = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)), jnp.float32)
    some = Tokens(x, jnp.asarray([[1, 0, 1], [0, 0, 0]], bool))
    head = Consensus(5)
    variables = head.init(jax.random.key(0), Fused(some, some.mean()), False)
    logits = head.apply(variables, Fused(some, some.mean()), False)
    each = x[0] @ variables['params']['logits']['kernel'] + variables['params']['logits']['bias']
    np.testing.assert_allclose(logits[0], (each[0] + each[2]) / 2, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(logits[1], 0)
