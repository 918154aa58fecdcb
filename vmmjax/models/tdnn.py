"""A time-delay network: frames of anything as vectors, and what happens when among them."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.convolutional import FROZEN, check_choice
from vmmjax.models.dropout import Dropout
from vmmjax.models.layers import BatchNorm
from vmmjax.models.tokens import Tokens, coarser


class TDNN(nn.Module):
    """A time-delay neural network (Waibel et al. 1989) that gives one token for the whole clip.

    Every frame goes through one dense layer, of pictures learned 'eigenlips' (Bregler and Konig 1994); `centred`
    pictures are meant, see `vmmjax.ops`. Convolutions over time follow, and a dense layer over all that is left, which
    knows when something happened: where order and time carry the answer, and clips are few, it learns in seconds what
    a network that averages over time does not learn at all. A frame may be a picture, a spectrum or a vector of
    features that another network has made. All clips must have as many frames.

    Attributes:
      frame_size: length of a frame's vector.
      widths: channels of the convolutions over time, five frames wide.
      strides: of each in time.
      features: length of the token.
      per_frame: whether every frame that the strides leave is a token, without the dense layer over all of them: for
        texts, which need to know when something was said.
      pool: pictures are first averaged over squares of so many pixels.
      convolutions: channels of convolutions within each frame before the dense layer, of 5 x 5 pixels and stride 2: for
        objects that are not always at the same place, such as a mouth.
      dropout: rate after every convolution.
      bn_momentum: decay of BatchNorm's running statistics.
      bn_groups: parts of a batch that BatchNorm normalises apart, see `layers.BatchNorm`.
      frozen_bn: which BatchNorms training leaves as they are, see `convolutional.ConvolutionalNetwork`.
      dtype: computations.
      param_dtype: parameters.
    """

    frame_size: int = 64
    widths: Sequence[int] = (256, 256)
    strides: Sequence[int] = (2, 2)
    features: int = 256
    per_frame: bool = False
    pool: int = 1
    convolutions: Sequence[int] = ()
    dropout: float = 0.3
    bn_momentum: float = 0.95
    bn_groups: int = 1
    frozen_bn: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a clip.

        Args:
          x: float (B, T, ...): pictures (B, T, H, W, C), spectra (B, T, M), vectors (B, T, D).
          valid: bool (B, T); what is not valid is to be zero, and does not count in the first normalisation.
          train: whether BatchNorm uses, and updates from, the batch, and dropout drops.

        Returns:
          Tokens (B, 1, features), valid where any frame is, or `per_frame` (B, T / strides, features); and the
          endpoints `frames` (B, T, frame_size), `conv_1` and so on.

        Raises:
          UserError: where there are not as many strides as widths, pictures do not divide into the squares, or
            convolutions were given what is no picture.
        """
        if len(self.widths) != len(self.strides):
            raise UserError(f'A tdnn was given the widths {tuple(self.widths)} and the strides {tuple(self.strides)}; '
                            f'give as many of both.')
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        if self.frozen_bn is not None:
            check_choice('frozen_bn', self.frozen_bn, FROZEN)
        norm = dict(momentum=self.bn_momentum, groups=self.bn_groups, use_scale=True,
                    frozen=self.frozen_bn is not None, **dtypes)
        first = norm | dict(frozen=self.frozen_bn == 'all')
        rows = valid.any(1)
        x = self._pooled(x.astype(self.dtype))
        if self.convolutions and x.ndim != 5:
            raise UserError(f'A tdnn with convolutions={tuple(self.convolutions)} was given an input of shape '
                            f'{x.shape}, where pictures (B, T, H, W, C) are meant; leave out convolutions.')
        for i, width in enumerate(self.convolutions, 1):
            x = nn.Conv(width, (5, 5), (2, 2), use_bias=False, name=f'picture_{i}', **dtypes)(x)
            x = nn.relu(BatchNorm(name=f'picture_norm_{i}', **(first if i == 1 else norm))(x, valid, train))
        x = x.reshape(*x.shape[:2], math.prod(x.shape[2:]))
        x = nn.Dense(self.frame_size, use_bias=False, name='frame', **dtypes)(x)
        x = nn.relu(BatchNorm(name='frame_norm', **(norm if self.convolutions else first))(x, valid, train))
        endpoints = {'frames': x}
        for i, (width, stride) in enumerate(zip(self.widths, self.strides, strict=True), 1):
            x = nn.Conv(width, (5,), (stride,), use_bias=False, name=f'conv_{i}', **dtypes)(x)
            x = nn.relu(BatchNorm(name=f'norm_{i}', **norm)(x, rows, train))
            endpoints[f'conv_{i}'] = x
            x = Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(self.features, name='clip', **dtypes)(x if self.per_frame else x.reshape(x.shape[0], -1))
        if self.per_frame:
            return Tokens(x, coarser(valid, math.prod(self.strides))), endpoints
        return Tokens(x[:, None], rows[:, None]), endpoints

    @nn.nowrap
    def _pooled(self, x: jax.Array) -> jax.Array:
        """(B, T, H, W, C) -> (B, T, H / pool, W / pool, C)."""
        if self.pool > 1:
            if x.ndim != 5 or x.shape[2] % self.pool or x.shape[3] % self.pool:
                raise UserError(f'A tdnn with pool={self.pool} was given an input of shape {x.shape}, where pictures '
                                f'(B, T, H, W, C) of a multiple of {self.pool} pixels are meant; change the size of '
                                f'the stream, or pool.')
            batch, time, height, width, channels = x.shape
            x = x.reshape(batch, time, height // self.pool, self.pool, width // self.pool, self.pool, channels)
            x = x.mean((3, 5))
        return x
