import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vmmjax.planning import operations
from vmmjax.training.scalars import computed_once


@pytest.mark.parametrize('x', [0.0, -0.0, 1.0, 3e-3, -1 / 3, 2e-38, 3.4e38])
def test_a_finite_scalar_is_as_it_was(x):
    x = np.float32(x)
    assert np.asarray(jax.jit(computed_once)(x)).tobytes() == x.tobytes()


def test_what_reads_it_does_not_compute_it_again():
    def scaled(step, arrays, once):
        rate = 0.5 * (1 + jnp.cos(step / 7))
        return [(once(rate) if once else rate) * x for x in arrays]

    def cosines(once):
        arrays = [jnp.ones(size) for size in range(2, 12)]
        compiled = jax.jit(scaled, static_argnums=2).lower(jnp.ones(()), arrays, once).compile()
        return sum(each.kind == 'cosine' for each in operations(compiled.as_text()).values())

    assert cosines(None) == 10  # Else it would not be needed.
    assert cosines(computed_once) == 1
