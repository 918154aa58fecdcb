"""Loss scaling: in float16 small gradients are zero unless the loss is multiplied first."""

from typing import Self

import flax
import jax
import jax.numpy as jnp

FIRST = 2.0 ** 15
PATIENCE = 2000


@flax.struct.dataclass
class LossScale:
    """By how much the loss is multiplied, and the gradients divided again (Micikevicius et al. 2018, section 3.2).

    It is halved where gradients are not finite, a step that is skipped, and doubled after `PATIENCE` finite steps.
    Powers of two change no digit.

    Attributes:
      factor: float32 scalar, at least 1.
      finite_steps: int32 scalar, steps since it last changed.
    """

    factor: jax.Array
    finite_steps: jax.Array

    @classmethod
    def create(cls) -> Self:
        """Before the first step."""
        return cls(jnp.asarray(FIRST, jnp.float32), jnp.zeros((), jnp.int32))

    def after(self, finite: jax.Array) -> Self:
        """After a step whose gradients were finite or not (bool scalar)."""
        steps = jnp.where(finite, self.finite_steps + 1, 0)
        doubled = steps >= PATIENCE
        factor = jnp.where(finite, jnp.where(doubled, 2 * self.factor, self.factor), jnp.maximum(self.factor / 2, 1))
        return type(self)(factor, jnp.where(doubled, 0, steps))
