import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmmjax.errors import UserError
from vmmjax.models import create_model
from vmmjax.models.vgg import adaptive_average


@pytest.mark.parametrize(('name', 'count'), [('vgg16', 138_357_544), ('vgg16_bn', 138_365_992)])
def test_there_are_as_many_parameters_as_published(name: str, count: int) -> None:
    model = create_model(name)
    outputs, shapes = jax.eval_shape(lambda: model.init_with_output(
        jax.random.key(0), {'rgb': jnp.zeros((1, 2, 219, 300, 3))}, train=False))
    assert sum(leaf.size for leaf in jax.tree.leaves(shapes['params'])) == count
    assert outputs.endpoints['rgb/pool5'].shape == (1, 2, 6, 9, 512)
    assert outputs.endpoints['rgb/tokens'].shape == (1, 2, 4096)
    assert outputs.logits.shape == (1, 1000)


@pytest.mark.slow
@settings(max_examples=15)
@given(height=st.integers(1, 20), width=st.integers(1, 20))
def test_adaptive_average_takes_every_cell_of_the_picture_that_a_cell_of_the_result_touches(height: int,
                                                                                           width: int) -> None:
    x = np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)
    found = adaptive_average(jnp.asarray(x), 7)
    for i in range(7):
        for j in range(7):
            rows = [row for row in range(height) if row < (i + 1) * height / 7 and row + 1 > i * height / 7]
            columns = [column for column in range(width) if column < (j + 1) * width / 7 and column + 1 > j * width / 7]
            np.testing.assert_allclose(found[:, i, j], x[:, rows][:, :, columns].mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_a_picture_that_is_too_small_is_refused() -> None:
    with pytest.raises(UserError, match='32 x 32'):
        create_model('vgg16').init(jax.random.key(0), {'rgb': jnp.zeros((1, 1, 31, 64, 3))}, train=False)


def test_a_narrow_network_has_narrow_tokens() -> None:
    model = create_model('vgg16', num_classes=3, width_multiplier=0.125)
    variables = jax.eval_shape(lambda: model.init(jax.random.key(0), {'rgb': jnp.zeros((1, 2, 32, 32, 3))},
                                                  train=False))
    encoder = variables['params']['encoders_rgb']
    assert encoder['features_0']['kernel'].shape == (3, 3, 3, 8)
    assert encoder['classifier_3']['kernel'].shape == (512, 512)
