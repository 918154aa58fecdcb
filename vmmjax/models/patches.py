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
        frames = self.size[0]
        if x.ndim == 3:
            if self.size[0] != 1:
                raise UserError(f'A spectrogram is one picture, and its patches are {self.size[0]} thick; set '
                                f'size=(1, {self.size[1]}, {self.size[2]}).')
            x, frames = x[:, None, ..., None], self.size[1]
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        x = Tubelets(self.hidden_size, self.size, name='patch_embeddings', **dtypes)(x)
        x = x.reshape(x.shape[0], -1, self.hidden_size)
        times = valid.shape[1] // frames
        valid = coarser(valid[:, :times * frames], frames)
        mask = jnp.repeat(valid, x.shape[1] // times, 1)
        x, _ = Positions((), name='embeddings', **dtypes)(x, None)
        return Tokens(x, mask), {}
