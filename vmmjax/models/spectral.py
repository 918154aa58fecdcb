"""Spectral normalisation of a tree of parameters, whatever network they are of."""

from typing import Any

import jax
import jax.numpy as jnp

_ITERATIONS = 12


def normalised(params: Any, iterations: int = _ITERATIONS) -> Any:
    """Kernels divided by their largest singular values (Miyato et al. 2018, equation 8).

    A kernel (..., C, D) of a convolution counts as a matrix (... C, D); vectors, such as offsets, stay. The singular
    value is found by the power method (algorithm 1), from the same vector each time and in more steps than the paper's
    one, so that nothing has to be kept from step to step. It is a little too small where the largest two are close.
    The gradient goes through the singular value, not through the vectors.

    Args:
      params: a tree of float arrays.
      iterations: steps of the power method.
    """
    return jax.tree.map(lambda kernel: kernel / _largest(kernel, iterations) if kernel.ndim > 1 else kernel, params)


def _largest(kernel: jax.Array, iterations: int) -> jax.Array:
    matrix = kernel.reshape(-1, kernel.shape[-1])
    fixed = jax.lax.stop_gradient(matrix)
    right = _unit(jax.random.normal(jax.random.key(0), (matrix.shape[1],), matrix.dtype))
    for _ in range(iterations):
        right = _unit(fixed.T @ (fixed @ right))
    return jnp.maximum(_unit(fixed @ right) @ matrix @ right, jnp.finfo(matrix.dtype).tiny)


def _unit(x: jax.Array) -> jax.Array:
    return x / jnp.maximum(jnp.linalg.norm(x), jnp.finfo(x.dtype).tiny)
