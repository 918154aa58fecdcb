"""What networks of pictures have in common when they encode the frames of a clip."""

from collections.abc import Generator

import jax
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.convolutional import ConvolutionalNetwork, check_choice
from vmmjax.models.encoder_steps import Encoded, Stage, Stages, run
from vmmjax.models.tokens import Tokens

SHIFTS = ('bi', 'uni')


def scaled(channels: int, multiplier: float) -> int:
    """So many channels times a width multiplier, as a multiple of 8, at least 8."""
    return max(8, 8 * round(channels * multiplier / 8))


Encoding = Generator[Stage, jax.Array, tuple[jax.Array, jax.Array, dict[str, jax.Array]]]


class FrameNetwork(ConvolutionalNetwork):
    """An encoder that takes a clip frame by frame: a token a frame.

    An image is a clip of one frame. Input channels may be any: 3 for RGB, 10 for five stacked frames of flow.
    A subclass has `encode(x, valid, train)`, a generator as `stages` that returns (B, T, features), what is valid of
    that, and endpoints. For its options see `ConvolutionalNetwork`.
    """

    @property
    def looks_ahead(self) -> str | None:
        """What to set where a frame's token depends on later frames, such as `shift='uni'`; None where none does.

        An encoder that has this attribute can be streamed.
        """
        return None

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
    """A network of frames that a temporal shift can let see each other, see `temporal_shift.TemporalShift`.

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
