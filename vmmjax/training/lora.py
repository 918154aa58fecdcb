"""Low-rank adaptation: kernels stay as they are, and beside each the product of two thin matrices is trained.

`W + alpha / rank * A B` (Hu et al. 2021, section 4.1), with W as (inputs, outputs), a convolution's kernel reshaped. B
begins at zero, so that the first outputs are those of W. A and B are in `params/lora`, under the path of their kernel.
"""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import traverse_util

from vmmjax.errors import UserError
from vmmjax.training import path_patterns

LORA = 'lora'


def adapters(key: jax.Array, params: Any, lora: Any) -> dict[str, Any]:
    """The first A (inputs, rank), normal of deviation 1 / sqrt(inputs), and B (rank, outputs), zero, of each kernel.

    Args:
      key: random.
      params: nested dicts.
      lora: `config.lora`.

    Raises:
      UserError: for a pattern that matches nothing, or an array of fewer than two axes.
    """
    path_patterns.first_match(list(lora.train), params, 'config.lora.train')
    chosen = traverse_util.flatten_dict(path_patterns.first_match(list(lora.kernels), params, 'config.lora.kernels'))
    found = {}
    for place, (path, leaf) in enumerate(sorted(traverse_util.flatten_dict(params).items())):
        if chosen[path] < 0:
            continue
        if leaf.ndim < 2:
            raise UserError(f'config.lora.kernels matches {"/".join(path)} of shape {leaf.shape}, which is no kernel; '
                            f"write the patterns so that they end on 'kernel$'.")
        inputs = math.prod(leaf.shape[:-1])
        draw = jax.random.normal(jax.random.fold_in(key, place), (inputs, lora.rank), leaf.dtype)
        found[(*path, 'a')] = draw / math.sqrt(inputs)
        found[(*path, 'b')] = jnp.zeros((lora.rank, leaf.shape[-1]), leaf.dtype)
    return traverse_util.unflatten_dict(found)


def merged(variables: Mapping[str, Any], lora: Any) -> dict[str, Any]:
    """The variables with each kernel's product added, and without the factors; as they are where there are none."""
    params = variables['params']
    if LORA not in params:
        return dict(variables)
    flat = traverse_util.flatten_dict({name: values for name, values in params.items() if name != LORA})
    factors = traverse_util.flatten_dict(params[LORA])
    for path in {path[:-1] for path in factors}:
        flat[path] = added(flat[path], factors[(*path, 'a')], factors[(*path, 'b')], lora)
    return {**variables, 'params': traverse_util.unflatten_dict(flat)}


def added(kernel: jax.Array, a: jax.Array, b: jax.Array, lora: Any) -> jax.Array:
    """The kernel with the product of its factors."""
    product = jnp.matmul(a, b, precision=jax.lax.Precision.HIGHEST)
    return kernel + lora.alpha / lora.rank * product.reshape(kernel.shape)


def frozen(lora: Any) -> str:
    """Path pattern of what stays as it is: everything but the factors and `config.lora.train`."""
    return rf'^(?!{LORA}/)(?!.*(?:{"|".join([*lora.train, "(?!)"])}))'
