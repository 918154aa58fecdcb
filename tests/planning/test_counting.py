import jax
import jax.numpy as jnp
import pytest
from flax import linen as nn

from vmmjax.planning import macs


def test_products_count_as_often_as_numbers_are_multiplied() -> None:
    a, b = jnp.zeros((5, 2, 3)), jnp.zeros((5, 3, 7))
    assert macs(lambda a, b: jnp.tanh(a @ b), a, b) == 5 * 2 * 3 * 7
    assert macs(jax.jit(lambda a: jnp.einsum('bij,bkj->bik', a, a)), a) == 5 * 2 * 2 * 3


@pytest.mark.parametrize(('options', 'expected'), [
    ({}, 10 * 10 * 4 * 6 * 9), ({'strides': 2}, 5 * 5 * 4 * 6 * 9),
    ({'feature_group_count': 2}, 10 * 10 * 4 * 6 * 9 // 2)])
def test_a_convolution_counts_with_its_padding(options: dict, expected: int) -> None:
    layer, x = nn.Conv(6, (3, 3), use_bias=False, **options), jnp.zeros((1, 10, 10, 4))
    assert macs(lambda x: layer.init_with_output(jax.random.key(0), x)[0], x) == expected


def test_what_is_repeated_counts_as_often() -> None:
    x = jnp.zeros((4, 4))
    assert macs(lambda x: jax.lax.scan(lambda y, _: (y @ y, None), x, None, 7)[0], x) == 7 * 64
    assert macs(lambda x: jax.lax.cond(x[0, 0] > 0, lambda y: y @ y, lambda y: y, x), x) == 64
    assert macs(lambda x: jax.checkpoint(lambda y: y @ y)(x), x) == 64
    with pytest.raises(ValueError, match='turns'):
        macs(lambda x: jax.lax.while_loop(lambda y: y[0, 0] > 0, lambda y: y @ y, x), x)
