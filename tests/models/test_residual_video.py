import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from vmmjax.models.residual_video import Correction


@pytest.mark.parametrize('channels', [1, 3])
def test_a_picture_is_at_first_made_the_mean_of_its_neighbours(channels: int) -> None:
    pictures = np.random.default_rng(0).uniform(-0.5, 0.5, (2, 5, 8, 6, channels)).astype(np.float32)
    maps = jnp.zeros((2, 5, 4, 3, 8))
    made, _ = Correction(channels).init_with_output(jax.random.key(0), maps, pictures)
    expected = uniform_filter(pictures, (1, 3, 3, 3, 1), mode='constant')
    np.testing.assert_allclose(pictures + made, expected, atol=1e-5)


def test_a_picture_between_others_is_at_first_their_mean() -> None:
    pictures = np.random.default_rng(0).uniform(-0.5, 0.5, (1, 3, 8, 6, 3)).astype(np.float32)
    made, _ = Correction(3, between=True).init_with_output(jax.random.key(0), jnp.ones((1, 3, 4, 3, 8)), pictures)
    assert made.shape == (1, 2, 8, 6, 3)
    assert np.abs(made).max() < 1e-3
