"""Scalars that a compiled step reads in many places."""

import jax


def computed_once(x: jax.Array) -> jax.Array:
    """A finite floating-point scalar as it is, bit for bit, which XLA computes in one place.

    XLA takes additions, selections and even cosines for cheap, and computes a scalar made of them anew in every loop
    that reads it: all that leads to the flag of a finite step or to the learning rate, once per updated array. It
    compiles most of a step's instructions for that. A division by what is not a constant counts as expensive, so its
    result is kept; `optimization_barrier` does not help, since the CPU's compiler drops it before it fuses.
    """
    # The divisor is 1, which the compiler cannot know: of an infinite x it would be NaN.
    return x / (1 + 0 * x)
