"""What the backward pass computes again, so that it need not be kept."""

from typing import Any

import jax
from flax import linen as nn
from jax import lax

from vmmjax.models.convolutional import check_choice


def _convolutions(primitive: Any, *_: Any, **__: Any) -> bool:
    return primitive is lax.conv_general_dilated_p


_PRODUCTS = jax.checkpoint_policies.save_from_both_policies(
    jax.checkpoint_policies.dots_with_no_batch_dims_saveable, _convolutions)


def rematerialised(block: Any, remat: bool | str) -> Any:
    """A block's class, as its network is to keep it between forward and backward pass.

    What a choice costs and saves for a model on a chip, `vmmjax plan` tells.

    Args:
      block: a module's class, called with (x, mask, train).
      remat: False keeps all that the backward pass needs; True the block's input alone, from which the whole block is
        computed again; 'products' also what convolutions and products with weights give, so that only what is cheap
        is computed again: normalisation, activations, the scores of attention.

    Raises:
      UserError: for something else.
    """
    check_choice('remat', remat, (False, True, 'products'))
    if not remat:
        return block
    return nn.remat(block, static_argnums=(3,), policy=_PRODUCTS if remat == 'products' else None)
