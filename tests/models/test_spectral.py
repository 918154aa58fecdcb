import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.models.spectral import normalised


def test_kernels_have_a_largest_singular_value_of_one_and_offsets_stay():
    draw = np.random.default_rng(0).standard_normal
    params = {'conv': {'kernel': jnp.asarray(draw((3, 3, 3, 4, 16)), jnp.float32), 'bias': jnp.ones(16)},
              'dense': {'kernel': jnp.asarray(draw((8, 1)), jnp.float32)}}
    found = normalised(params)
    np.testing.assert_array_equal(found['conv']['bias'], 1)
    exact = params['conv']['kernel'] / np.linalg.norm(params['conv']['kernel'].reshape(-1, 16), 2)
    np.testing.assert_allclose(found['conv']['kernel'], exact, rtol=0.02)
    np.testing.assert_allclose(np.linalg.norm(found['dense']['kernel']), 1, rtol=1e-5)
    np.testing.assert_array_equal(normalised({'kernel': jnp.zeros((2, 2))})['kernel'], 0)
    # A kernel and its multiple are the same, so that no gradient lies along the kernel.
    slope = jax.grad(lambda kernel: (normalised({'k': kernel})['k'] * exact[0, 0, 0]).sum())(params['conv']['kernel'])
    assert abs((slope * params['conv']['kernel']).sum()) < 1e-4 * jnp.linalg.norm(slope) * jnp.linalg.norm(exact)
