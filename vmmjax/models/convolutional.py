"""Options that convolutional encoders have in common."""

from collections.abc import Iterable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError, did_you_mean

FROZEN = ('all', 'all_but_first')


def check_choice(option: str, value: Any, known: Iterable[Any]) -> None:
    """Raises a UserError where `value` of an encoder's `option` is not among the known ones."""
    if value not in known:
        raise UserError(f'There is no {option} {value!r}: {did_you_mean(str(value), map(str, known))}.')


class ConvolutionalNetwork(nn.Module):
    """An encoder of convolutions and BatchNorms.

    Attributes:
      frozen_bn: 'all' for BatchNorms that training leaves as they are, 'all_but_first' for all but the network's first
        (TSM's partial BatchNorm); None for BatchNorms that learn.
      bn_momentum: decay of BatchNorm's running statistics.
      bn_groups: parts of a batch that BatchNorm normalises apart, see `layers.BatchNorm`.
      form: how convolutions and pooling are written, see `layers`; None is what is fast on the platform.
      dtype: computations.
      param_dtype: parameters.
    """

    frozen_bn: str | None = None
    bn_momentum: float = 0.9
    bn_groups: int = 1
    form: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.frozen_bn is not None:
            check_choice('frozen_bn', self.frozen_bn, FROZEN)
        super().__post_init__()

    @property
    def convolution(self) -> dict[str, Any]:
        """Options of every convolution."""
        return dict(form=self.form, dtype=self.dtype, param_dtype=self.param_dtype)

    @nn.nowrap
    def frozen(self, first: bool = False) -> bool:
        """Whether training leaves a BatchNorm as it is, the network's first or another."""
        return self.frozen_bn == 'all' or (self.frozen_bn == 'all_but_first' and not first)

    @nn.nowrap
    def norm(self, first: bool = False) -> dict[str, Any]:
        """Options of a BatchNorm, the network's first or another."""
        return dict(momentum=self.bn_momentum, groups=self.bn_groups, epsilon=1e-5, use_scale=True,
                    frozen=self.frozen(first), dtype=self.dtype, param_dtype=self.param_dtype)
