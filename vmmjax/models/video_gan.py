"""The two networks of an adversary for short clips: one that draws them, and one that judges them."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.convolution import Shape3
from vmmjax.models.residual_video import Convolution
from vmmjax.models.tokens import Tokens

_SLOPE = 0.2  # Of leaky rectifiers below zero (Radford et al. 2016).


class StridedVideo(nn.Module):
    """An encoder of strided convolutions in space and time without any normalisation: what judges clips.

    Without BatchNorm and dropout a clip's judgement depends on no other clip, and has the gradients that a penalty on
    them needs (Mescheder et al. 2018). 943 thousand parameters.

    Attributes:
      widths: channels of the convolutions, 3 x 3 x 3 each.
      strides: of each, in time, height and width.
      dtype: computations.
      param_dtype: parameters.
    """

    widths: Sequence[int] = (32, 64, 128, 192)
    strides: Sequence[Shape3] = ((1, 2, 2), (2, 2, 2), (2, 2, 2), (1, 1, 1))
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def features(self) -> int:
        """Length of the tokens."""
        return self.widths[-1]

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a clip.

        Args:
          x: float (B, T, H, W, C).
          valid: bool (B, T).
          train: changes nothing.

        Returns:
          Tokens (B, T' H' W', features), all of them where any frame is valid; and the endpoints `conv_1` and so on.
        """
        endpoints, x = {}, x.astype(self.dtype)
        for place, (width, strides) in enumerate(zip(self.widths, self.strides, strict=True), 1):
            x = Convolution(width, (3, 3, 3), (strides[0], strides[1], strides[2]), name=f'conv_{place}',
                            dtype=self.dtype, param_dtype=self.param_dtype)(x)
            endpoints[f'conv_{place}'] = x = nn.leaky_relu(x, _SLOPE)
        tokens = x.reshape(x.shape[0], -1, x.shape[-1])
        return Tokens(tokens, jnp.broadcast_to(valid.any(1, keepdims=True), tokens.shape[:2])), endpoints


class Judge(nn.Module):
    """How real features look, of a class: `v . h + c + e_y . h` (Miyato and Koyama 2018, equation 3).

    Attributes:
      classes: how many there are; 0 for clips without.
    """

    classes: int = 0

    @nn.compact
    def __call__(self, features: jax.Array, classes: jax.Array) -> jax.Array:
        """Features (B, D) and int32 (B,), -1 for no class -> (B,), in float32 at least."""
        x = features.astype(jnp.promote_types(features.dtype, jnp.float32))
        score: jax.Array = nn.Dense(1, name='real')(x)[:, 0]
        if not self.classes:
            return score
        vectors = nn.Embed(self.classes, x.shape[-1], name='class')(jnp.maximum(classes, 0))
        return score + jnp.where(classes >= 0, (vectors * x).sum(-1), 0)


class VideoGenerator(nn.Module):
    """Draws clips from normal numbers and a class.

    A dense layer makes a small clip, and convolutions follow, each after its input was enlarged: every channel is
    normalised over the clip and given a mean and a deviation by the numbers and the class (Huang and Belongie 2017,
    equation 8; Karras et al. 2019), so that a clip depends on no other.

    Attributes:
      shape: frames, height, width and channels of a clip.
      widths: channels of the convolutions; from one to the next height and width double, and so does time wherever
        frames are left to be doubled.
      hidden: units of the two layers over the numbers.
      classes: how many there are; 0 for clips without.
    """

    shape: tuple[int, int, int, int]
    widths: Sequence[int] = (128, 64, 32)
    hidden: int = 128
    classes: int = 0

    @property
    def start(self) -> Shape3:
        """Frames, height and width of the small clip."""
        return tuple(size for size, _ in self._growth())  # type: ignore[return-value]

    def _growth(self) -> list[tuple[int, int]]:
        """Of each axis its first size, and how often it doubles; the first size may be rounded up."""
        doublings = len(self.widths) - 1
        times = next((count for count in range(doublings, -1, -1) if self.shape[0] >= 2 ** count * 2), 0)
        return [(math.ceil(size / 2 ** count), count) for size, count in
                zip(self.shape[:3], (times, doublings, doublings), strict=True)]

    @nn.compact
    def __call__(self, numbers: jax.Array, classes: jax.Array) -> jax.Array:
        """Draws clips.

        Args:
          numbers: float (B, D), normal.
          classes: int32 (B,), -1 for no class.

        Returns:
          float32 (B, *shape) within -1 and 1.
        """
        style = numbers
        if self.classes:
            style = jnp.concatenate([style, jax.nn.one_hot(classes, self.classes)], -1)
        for place in range(2):
            style = nn.leaky_relu(nn.Dense(self.hidden, name=f'style_{place}')(style), _SLOPE)
        start, times = self.start, self._growth()[0][1]
        x = nn.Dense(math.prod(start) * self.widths[0], name='start')(style)
        x = x.reshape(len(x), *start, self.widths[0])
        for place, width in enumerate(self.widths):
            if place:
                x = _doubled(x, place > len(self.widths) - 1 - times)
            x = Convolution(width, (3, 3, 3), name=f'conv_{place}', dtype=x.dtype)(x)
            scale, offset = jnp.split(nn.Dense(2 * width, name=f'look_{place}')(style)[:, None, None, None], 2, -1)
            x = nn.leaky_relu(_normalised(x) * (1 + scale) + offset, _SLOPE)
        frames, height, width, channels = self.shape
        return jnp.tanh(Convolution(channels, (3, 3, 3), name='picture', dtype=x.dtype)(x))[:, :frames, :height, :width]


def _doubled(x: jax.Array, time: bool) -> jax.Array:
    """Each value twice along height and width, and along time where it says so."""
    for axis in (1, 2, 3) if time else (2, 3):
        x = jnp.repeat(x, 2, axis)
    return x


def _normalised(x: jax.Array) -> jax.Array:
    """Each channel of each clip with mean 0 and deviation 1."""
    mean = x.mean((1, 2, 3), keepdims=True)
    return (x - mean) * jax.lax.rsqrt(jnp.square(x - mean).mean((1, 2, 3), keepdims=True) + 1e-6)
