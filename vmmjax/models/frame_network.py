"""What networks of pictures have in common when they encode the frames of a clip."""

from collections.abc import Generator, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.encoder_steps import Encoded, Stage, Stages, run
from vmmjax.models.tokens import Tokens

FROZEN = ('all', 'all_but_first')
SHIFTS = ('bi', 'uni')


def check_choice(option: str, value: Any, known: Iterable[Any]) -> None:
    """Raises a UserError where `value` of an encoder's `option` is not among the known ones."""
    if value not in known:
        raise UserError(f'There is no {option} {value!r}: {did_you_mean(str(value), map(str, known))}.')


def scaled(channels: int, multiplier: float) -> int:
    """So many channels times a width multiplier, as a multiple of 8, at least 8."""
    return max(8, 8 * round(channels * multiplier / 8))


Encoding = Generator[Stage, jax.Array, tuple[jax.Array, jax.Array, dict[str, jax.Array]]]


class FrameNetwork(nn.Module):
    """An encoder that takes a clip frame by frame: a token a frame.

    An image is a clip of one frame. Input channels may be any: 3 for RGB, 10 for five stacked frames of flow.
    A subclass has `encode(x, valid, train)`, a generator as `stages` that returns (B, T, features), what is valid of
    that, and endpoints.

    Attributes:
      frozen_bn: 'all' for BatchNorms that training leaves as they are, 'all_but_first' for TSM's partial one; None
        for BatchNorms that learn.
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
    def looks_ahead(self) -> str | None:
        """What to set where a frame's token depends on later frames, such as `shift='uni'`; None where none does.

        An encoder that has this attribute can be streamed.
        """
        return None

    @property
    def convolution(self) -> dict[str, Any]:
        """Options of every convolution."""
        return dict(form=self.form, dtype=self.dtype, param_dtype=self.param_dtype)

    @nn.nowrap
    def norm(self, first: bool = False) -> dict[str, Any]:
        """Options of a BatchNorm, the network's first or another."""
        frozen = self.frozen_bn == 'all' or (self.frozen_bn == 'all_but_first' and not first)
        return dict(momentum=self.bn_momentum, groups=self.bn_groups, epsilon=1e-5, use_scale=True, frozen=frozen,
                    dtype=self.dtype, param_dtype=self.param_dtype)

    @nn.nowrap
    def encode(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoding:
        """See the class."""
        raise NotImplementedError

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoded:
        """Encodes a clip.

        Args:
          x: float (B, T, H, W, C), normalised.
          valid: bool (B, T); frames that are not valid have no influence, on BatchNorm's statistics neither.
          train: whether BatchNorm uses, and updates from, the batch, and dropout drops.

        Returns:
          Tokens (B, T, features), and endpoints (B, T, H', W', C') by name.

        Raises:
          UserError: for an input without the five axes.
        """
        return run(self.stages(x, valid, train))

    @nn.nowrap
    def stages(self, x: jax.Array, valid: jax.Array, train: bool) -> Stages:
        """The same, stopping at every endpoint, see `vmmjax.models.encoder_steps`."""
        if x.ndim != 5:
            raise UserError(f'A network of frames was given an input of shape {x.shape}, where '
                            f'(rows, frames, height, width, channels) is meant; an image is a clip of one frame.')
        features, valid, endpoints = yield from self.encode(x.astype(self.dtype), valid, train)
        return Tokens(features, valid), endpoints


class ShiftNetwork(FrameNetwork):
    """A network of frames that a temporal shift can let see each other, see `temporal.TemporalShift`.

    Attributes:
      shift: 'bi' from the frame before and the next, 'uni' from the one before, which can be streamed; None for
        frames that are strangers.
      shift_div: one in so many channels moves in each direction.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
    """

    shift: str | None = None
    shift_div: int = 8
    remat: bool | str = False

    def __post_init__(self) -> None:
        """Checks the options."""
        if self.shift is not None:
            check_choice('shift', self.shift, SHIFTS)
        if self.shift_div < 1:
            raise UserError(f'shift_div is {self.shift_div}; give a whole number of at least 1.')
        super().__post_init__()

    @property
    def looks_ahead(self) -> str | None:
        """See `FrameNetwork`."""
        return "shift='uni'" if self.shift == 'bi' else None
