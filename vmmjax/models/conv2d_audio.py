"""Encoders of sound."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.convolutional import FROZEN, check_choice
from vmmjax.models.dropout import Dropout
from vmmjax.models.encoder_steps import Encoded, Stage, Stages, run
from vmmjax.models.layers import BatchNorm, max_pool3d
from vmmjax.models.tokens import Tokens, coarser


class Conv2DAudio(nn.Module):
    """A small two-dimensional convolutional network on log-mels.

    Every mel band is normalised, then each stage is a 3x3 convolution, BatchNorm, ReLU and 2x2 max pooling. What
    is left of the frequency axis joins the channels, so that a token still knows where in the spectrum something
    happened: a network that averages frequency away tells a rise from a fall, but not one vowel from another.

    Attributes:
      widths: channels of each stage; time and frequency are halved after each.
      halvings: how many stages halve time, the first ones; None for all. Letters and words need more tokens than
        classes: CTC at least one for each of them (`decoders.ctc.frames_needed`).
      features: length of a token.
      dropout: rate on the tokens.
      bn_momentum: decay of BatchNorm's running statistics.
      bn_groups: parts of a batch that BatchNorm normalises apart, see `layers.BatchNorm`.
      frozen_bn: which BatchNorms training leaves as they are, see `convolutional.ConvolutionalNetwork`.
      form: of the pooling, see `layers`.
      dtype: computations.
      param_dtype: parameters.
    """

    widths: Sequence[int] = (16, 32, 64, 128)
    halvings: int | None = None
    features: int = 256
    dropout: float = 0.0
    bn_momentum: float = 0.99
    bn_groups: int = 1
    frozen_bn: str | None = None
    form: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def layers(self) -> dict[str, nn.Module]:
        """Every layer, by name."""
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        if self.frozen_bn is not None:
            check_choice('frozen_bn', self.frozen_bn, FROZEN)
        norm = dict(momentum=self.bn_momentum, groups=self.bn_groups, frozen=self.frozen_bn is not None, **dtypes)
        first = norm | dict(frozen=self.frozen_bn == 'all')
        layers: dict[str, nn.Module] = {
            # Without an offset nothing before the first convolution is learned, and its input needs no gradient.
            'input_norm': BatchNorm(use_bias=False, name='input_norm', **first)}
        for i, width in enumerate(self.widths, 1):
            layers[f'conv_{i}'] = nn.Conv(width, (3, 3), use_bias=False, kernel_init=nn.initializers.he_normal(),
                                          name=f'conv_{i}', **dtypes)
            layers[f'norm_{i}'] = BatchNorm(use_scale=True, name=f'norm_{i}', **norm)
        return layers | {'project': nn.Dense(self.features, use_bias=False, name='project', **dtypes),
                         'project_norm': BatchNorm(use_scale=True, name='project_norm', **norm),
                         'dropout': Dropout(self.dropout)}

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoded:
        """Encodes a log-mel spectrogram.

        Args:
          x: float (B, F, M).
          valid: bool (B, F); frames that are not do not count in the normalisation and are as silent as its mean.
          train: whether BatchNorm and dropout are in training mode.

        Returns:
          Tokens (B, ceil(F / 2**halvings), features), and the endpoints `normalised`, `stage_1` and so on.
        """
        return run(self.stages(x, valid, train))

    @nn.nowrap
    def stages(self, x: jax.Array, valid: jax.Array, train: bool) -> Stages:
        """The same, stopping at every endpoint, see `vmmjax.models.encoder_steps`."""
        layers, rows, mask = self.layers(), valid.any(1), valid
        endpoints = {}
        x = jnp.where(valid[..., None], layers['input_norm'](x, valid, train), 0)
        x = endpoints['normalised'] = yield Stage('normalised', x, mask)
        x = x[..., None]
        for i in range(1, len(self.widths) + 1):
            x = nn.relu(layers[f'norm_{i}'](layers[f'conv_{i}'](x), rows, train))
            factor = 2 if self.halvings is None or i <= self.halvings else 1
            x = max_pool3d(x[:, None], (1, factor, 2), (1, factor, 2), self.form)[:, 0]
            mask = coarser(mask, factor)
            x = endpoints[f'stage_{i}'] = yield Stage(f'stage_{i}', x, mask)
        x = layers['project'](x.reshape(*x.shape[:2], -1))
        x = nn.relu(layers['project_norm'](x, mask, train))
        return Tokens(layers['dropout'](x, deterministic=not train), mask), endpoints
