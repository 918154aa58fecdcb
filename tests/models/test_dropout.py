import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from vmmjax.models.dropout import Dropout, rows_of_batch

X = jnp.asarray(np.random.default_rng(0).standard_normal((8, 3, 5)))


def dropped(module, x, train=True):
    return module.apply({}, x, deterministic=not train, rngs={'dropout': jax.random.key(1)})


@pytest.mark.parametrize('rate', [0.0, 0.3, 1.0])
@pytest.mark.parametrize('shared', [(), (1,), (1, 2)])
def test_of_a_whole_batch_it_is_flaxs(rate, shared):
    ours, theirs = (dropped(kind(rate, shared), X) for kind in (Dropout, nn.Dropout))
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize('shared', [(), (1,), (1, 2)])
@pytest.mark.parametrize('each', [1, 3])
def test_of_a_part_it_is_the_parts(shared, each):
    x = X.reshape(8, 3, 5) if each == 1 else X.reshape(24, 5)
    shared = tuple(axis for axis in shared if axis < x.ndim)
    whole = dropped(Dropout(0.4, shared), x).reshape(8, -1)
    rows = jnp.asarray([1, 3, 5, 7])
    with rows_of_batch(rows, 8):
        part = dropped(Dropout(0.4, shared), x.reshape(8, -1)[rows].reshape(4 * each, *x.shape[1:]))
        still = dropped(Dropout(0.4, shared), x, train=False)
    np.testing.assert_array_equal(part.reshape(4, -1), whole[rows])
    np.testing.assert_array_equal(still, x)
