from typing import Any

import jax
import jax.numpy as jnp
import pytest

from vmmjax.errors import UserError
from vmmjax.models import create_model
from vmmjax.planning import macs

NETWORKS = {
    'tsm_resnet18': dict(width_multiplier=0.25),
    'mobilenet_v2': dict(width_multiplier=0.25),
    'i3d': dict(width_multiplier=0.03),
    'vivit': dict(tubelet=(1, 8, 8), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64),
}


def products_of_a_gradient(name: str, remat: Any) -> int:
    """Multiplications of convolutions and matrix products, forward and backward; nothing is computed."""
    model = create_model(name, remat=remat, **NETWORKS[name])
    batch = {'rgb': jax.ShapeDtypeStruct((2, 8, 32, 32, 3), jnp.float32)}
    variables = jax.eval_shape(lambda batch: model.init(jax.random.key(0), batch, train=False), batch)

    def loss(params: Any, variables: Any, batch: Any) -> Any:
        out, _ = model.apply({**variables, 'params': params}, batch, train=True, mutable=['batch_stats'],
                             rngs={'dropout': jax.random.key(1)})
        return (out.logits ** 2).sum()

    return macs(jax.grad(loss), variables['params'], variables, batch)


@pytest.mark.parametrize('name', [pytest.param('i3d', marks=pytest.mark.slow), 'tsm_resnet18', 'mobilenet_v2', 'vivit'])
def test_products_are_kept_and_the_rest_is_computed_again(name: str) -> None:
    kept, products, again = (products_of_a_gradient(name, remat) for remat in (False, 'products', True))
    assert again > 1.01 * kept
    if name == 'vivit':  # Scores of attention, and what they weigh, are no products with weights.
        assert kept < products < 0.5 * (kept + again)
    else:
        assert products == kept


def test_an_unknown_word_is_refused() -> None:
    with pytest.raises(UserError, match="no remat 'product': did you mean 'products'"):
        products_of_a_gradient('tsm_resnet18', 'product')
