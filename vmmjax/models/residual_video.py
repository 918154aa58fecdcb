"""Residual convolutional networks in space and time that keep a clip's size, and what makes pictures of their maps."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vmmjax.models.convolution import Shape3, conv3d
from vmmjax.models.tokens import Tokens

_SHRINK = 2  # Neighbouring pixels along each side that are channels of one place: a quarter of the work.


class Convolution(nn.Module):
    """`conv3d` with an offset; its weights are `kernel` (kt, kh, kw, in, out) and `bias` (out,).

    Attributes:
      features: output channels.
      size: of the kernel, in time, height and width.
      strides: likewise.
      kernel_init: initialiser of the kernel.
      dtype: computations.
      param_dtype: parameters.
    """

    features: int
    size: Shape3
    strides: Shape3 = (1, 1, 1)
    kernel_init: Any = nn.initializers.he_normal(in_axis=(0, 1, 2, 3))
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, T, H, W, C) -> (B, T', H', W', features)."""
        kernel = self.param('kernel', self.kernel_init, (*self.size, x.shape[-1], self.features), self.param_dtype)
        bias = self.param('bias', nn.initializers.zeros, (self.features,), self.param_dtype)
        return conv3d(x.astype(self.dtype), kernel.astype(self.dtype), self.strides) + bias.astype(self.dtype)


class ResidualVideo(nn.Module):
    """An encoder for networks that make pictures of pictures: residual blocks on all frames, at half the size.

    Squares of 2 x 2 pixels are channels of one place; blocks of a convolution over three frames and one within each
    follow, added to their input (He et al. 2015, without BatchNorm, as in Lim et al. 2017, section 3.1, so that a frame
    depends on no other clip, and on `depth + 1` frames on either side). 232 thousand parameters.

    Attributes:
      features: channels.
      depth: blocks.
      dtype: computations.
      param_dtype: parameters.
    """

    features: int = 32
    depth: int = 6
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def reach(self) -> int:
        """Frames on either side on which the maps of a frame depend."""
        return self.depth + 1

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a clip.

        Args:
          x: float (B, T, H, W, C).
          valid: bool (B, T).
          train: changes nothing.

        Returns:
          Tokens (B, T, features), the mean of each frame; and the endpoint `maps` (B, T, ceil(H / 2), ceil(W / 2),
          features).
        """
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        x = Convolution(self.features, (3, 3, 3), name='stem', **dtypes)(folded(x.astype(self.dtype)))
        for place in range(self.depth):
            y = Convolution(self.features, (3, 3, 3), name=f'block_{place}_time', **dtypes)(nn.relu(x))
            # Small at first, so that a deep sum does not grow.
            y = Convolution(self.features, (1, 3, 3), kernel_init=nn.initializers.normal(0.01),
                            name=f'block_{place}_space', **dtypes)(nn.relu(y))
            x += y
        return Tokens(x.mean((2, 3)), valid), {'maps': x}


def _to_the_mean(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """The kernel (3, 3, 3, 4 C, 4 C) of `folded` pictures that leads from each value to the mean of its 3 x 3 x 3."""
    channels = shape[-1] // _SHRINK ** 2
    tap, seen, made = np.ogrid[:3, :_SHRINK, :_SHRINK]
    along = np.abs(_SHRINK * (tap - 1) + seen - made) <= 1  # Along one side, which pixels are neighbours.
    mean = np.einsum('t,yij,xkl,cd->tyxikcjld', np.full(3, 1 / 27), along, along, np.eye(channels)).reshape(shape)
    mean[1, 1, 1] -= np.eye(shape[-1])
    return jnp.asarray(mean, dtype)


class Correction(nn.Module):
    """What is to be added to pictures, from the maps of `ResidualVideo` and the pictures.

    It is the sum of what two convolutions make of the maps, and of a linear filter of the pictures, which any linear
    baseline is a special case of. At first it adds next to nothing to pictures between neighbouring frames, and of
    others makes the mean of the 3 x 3 x 3 values around each: Adam would take hundreds of steps to get there.

    Attributes:
      channels: of the pictures.
      between: whether pictures between neighbouring frames are meant, one fewer than there are.
    """

    channels: int = 3
    between: bool = False

    @nn.compact
    def __call__(self, maps: jax.Array, pictures: jax.Array) -> jax.Array:
        """Makes the correction.

        Args:
          maps: (B, T, ceil(H / 2), ceil(W / 2), F).
          pictures: float (B, T, H, W, C), that the maps are of.

        Returns:
          float32 (B, T or T - 1, H, W, channels).
        """
        shape, features = pictures.shape, maps.shape[-1]
        seen, x = (each.astype(jnp.promote_types(each.dtype, jnp.float32)) for each in (folded(pictures), maps))
        if self.between:
            seen, x = (jnp.concatenate([each[:, :-1], each[:, 1:]], -1) for each in (seen, x))
        out, small = self.channels * _SHRINK ** 2, nn.initializers.normal(1e-5)
        x = Convolution(features, (1, 3, 3), name='hidden')(nn.relu(x))
        x = Convolution(out, (1, 3, 3), kernel_init=small, name='output')(nn.relu(x))
        x += (Convolution(out, (1, 3, 3), kernel_init=small, name='filter')(seen) if self.between else
              Convolution(out, (3, 3, 3), kernel_init=_to_the_mean, name='filter')(seen))
        batch, time, height, width = x.shape[:4]
        x = x.reshape(batch, time, height, width, _SHRINK, _SHRINK, self.channels)
        x = x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, time, _SHRINK * height, _SHRINK * width, self.channels)
        return x[:, :, :shape[2], :shape[3]]


def folded(x: jax.Array) -> jax.Array:
    """(B, T, H, W, C) -> (B, T, ceil(H / 2), ceil(W / 2), 4 C): squares of pixels as channels, zeros past the edge."""
    x = jnp.pad(x, ((0, 0), (0, 0), *((0, -length % _SHRINK) for length in x.shape[2:4]), (0, 0)))
    batch, time, height, width, channels = x.shape
    x = x.reshape(batch, time, height // _SHRINK, _SHRINK, width // _SHRINK, _SHRINK, channels)
    return x.transpose(0, 1, 2, 4, 3, 5, 6).reshape(batch, time, height // _SHRINK, width // _SHRINK, -1)
