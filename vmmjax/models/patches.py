"""Patches of a clip or a spectrogram, for a transformer that fuses streams from their first layer on."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.convolution import Shape3
from vmmjax.models.tokens import Tokens, coarser
from vmmjax.models.transformer import Positions
from vmmjax.models.video_transformer import Tubelets


def as_clip(x: jax.Array, size: Shape3) -> tuple[jax.Array, int]:
    """What is cut into patches, as pictures, and how many of its frames a patch has.

    Args:
      x: (B, T, H, W, C), or a spectrogram (B, F, M), which is one picture.
      size: of a patch.

    Returns:
      (B, T, H, W, C), and the length of a patch on the second axis of `x`.

    Raises:
      UserError: for a spectrogram whose patches are several pictures thick.
    """
    if x.ndim != 3:
        return x, size[0]
    if size[0] != 1:
        raise UserError(f'A spectrogram is one picture, and its patches are {size[0]} thick; set '
                        f'size=(1, {size[1]}, {size[2]}).')
    return x[:, None, ..., None], size[1]


def of_patches(valid: jax.Array, frames: int, count: int) -> jax.Array:
    """Which of `count` patches are valid, bool (B, count): those of which any of their `frames` is; `valid` (B, T)."""
    times = valid.shape[1] // frames
    return jnp.repeat(coarser(valid[:, :times * frames], frames), count // times, 1)


class Patches(nn.Module):
    """A linear map of every patch, and a learned vector for each position: `z_i = E x_i + e_i` (Nagrani et al. 2021).

    With the fusion `bottleneck` of `project=False` it makes their MBT, whose blocks are all in the fusion. The size of
    the input is free, and fixed when the parameters are made.

    Attributes:
      size: frames, height and width of a clip's patch; of a spectrogram's 1, frames and mel bands.
      hidden_size: length of a token.
      dtype: computations.
      param_dtype: parameters.
    """

    size: Shape3 = (2, 16, 16)
    hidden_size: int = 768
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def features(self) -> int:
        """Length of a token."""
        return self.hidden_size

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Cuts a clip, or a spectrogram.

        Args:
          x: float (B, T, H, W, C) or (B, F, M).
          valid: bool (B, T) or (B, F); a patch is valid where any of its frames is.
          train: of no consequence.

        Returns:
          Tokens (B, patches, hidden_size), those of one time after another, and no endpoints.

        Raises:
          UserError: for an input of another size than the parameters were made for, or smaller than a patch; for a
            spectrogram whose patches are several pictures thick.
        """
        x, frames = as_clip(x, self.size)
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        x = Tubelets(self.hidden_size, self.size, name='patch_embeddings', **dtypes)(x)
        x = x.reshape(x.shape[0], -1, self.hidden_size)
        mask = of_patches(valid, frames, x.shape[1])
        x, _ = Positions((), name='embeddings', **dtypes)(x, None)
        return Tokens(x, mask), {}
