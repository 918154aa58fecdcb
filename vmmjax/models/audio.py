"""Encoders of sound."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.layers import BatchNorm, max_pool3d
from vmmjax.models.tokens import Tokens


class Conv2DAudio(nn.Module):
    """A small two-dimensional convolutional network on log-mels.

    Every mel band is normalised, then each stage is a 3x3 convolution, BatchNorm, ReLU and 2x2 max pooling. What
    is left of the frequency axis joins the channels, so that a token still knows where in the spectrum something
    happened: a network that averages frequency away tells a rise from a fall, but not one vowel from another.

    Attributes:
      widths: channels of each stage; time and frequency are halved after each.
      features: length of a token.
      dropout: rate on the tokens.
      bn_momentum: decay of BatchNorm's running statistics.
      form: of the pooling, see `layers`.
      dtype: computations.
      param_dtype: parameters.
    """

    widths: Sequence[int] = (16, 32, 64, 128)
    features: int = 256
    dropout: float = 0.0
    bn_momentum: float = 0.99
    form: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a log-mel spectrogram.

        Args:
          x: float (B, F, M).
          valid: bool (B, F); frames that are not do not count in the normalisation and are as silent as its mean.
          train: whether BatchNorm and dropout are in training mode.

        Returns:
          Tokens (B, ceil(F / 2**stages), features), and the endpoints `normalised`, `stage_1` and so on.
        """
        options = dict(momentum=self.bn_momentum, dtype=self.dtype, param_dtype=self.param_dtype)
        rows, mask = valid.any(1), valid
        # Without an offset nothing before the first convolution is learned, and its input needs no gradient.
        x = BatchNorm(use_bias=False, name='input_norm', **options)(x, valid, train)
        x = jnp.where(valid[..., None], x, 0)
        endpoints = {'normalised': x}
        x = x[..., None]
        for i, width in enumerate(self.widths, 1):
            x = nn.Conv(width, (3, 3), use_bias=False, dtype=self.dtype, param_dtype=self.param_dtype,
                        kernel_init=nn.initializers.he_normal(), name=f'conv_{i}')(x)
            x = nn.relu(BatchNorm(use_scale=True, name=f'norm_{i}', **options)(x, rows, train))
            x = endpoints[f'stage_{i}'] = max_pool3d(x[:, None], (1, 2, 2), (1, 2, 2), self.form)[:, 0]
            mask = jnp.pad(mask, ((0, 0), (0, mask.shape[1] % 2)))
            mask = mask[:, ::2] | mask[:, 1::2]
        x = x.reshape(*x.shape[:2], -1)
        x = nn.Dense(self.features, use_bias=False, dtype=self.dtype, param_dtype=self.param_dtype,
                     name='project')(x)
        x = nn.relu(BatchNorm(use_scale=True, name='project_norm', **options)(x, mask, train))
        return Tokens(nn.Dropout(self.dropout, deterministic=not train)(x), mask), endpoints
