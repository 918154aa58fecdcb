"""MobileNetV2 on the frames of a clip, with and without the temporal shift.

Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", 2018, as in torchvision, whose names the
modules carry; the shift is where Lin, Gan and Han (2019) released it.
"""

from typing import Any

import jax
from flax import linen as nn

from vmmjax.models.encoder_steps import Stage
from vmmjax.models.frame_network import Encoding, ShiftNetwork
from vmmjax.models.layers import BatchNorm, Conv2D
from vmmjax.models.remat import rematerialised
from vmmjax.models.temporal_shift import TemporalShift

# Expansion, channels, blocks, stride of the first.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))
# The number of the last convolution, after all blocks.
LAST = 18


def rounded(channels: float) -> int:
    """The nearest multiple of 8, at least 8, and not more than a tenth below: torchvision's `_make_divisible`."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


class InvertedResidual(nn.Module):
    """Inverted residual: 1x1 expansion, 3x3 depthwise convolution, 1x1 projection; residual where shapes are equal.

    Attributes:
      expansion: channels inside as a multiple of those that come in; at 1 the first convolution is left out.
      features: channels that come out.
      stride: of the 3x3 convolution.
      shift: options of a `TemporalShift` inside the residual branch, or None; without a residual nothing is shifted.
      norm: options of every BatchNorm.
      options: of every convolution, `form`, `dtype` and `param_dtype`.
    """

    expansion: int
    features: int
    stride: int
    shift: Any
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> jax.Array:
        """(B, T, H, W, C) -> (B, T, H', W', features); `valid` (B, T)."""
        inner, y = x.shape[-1] * self.expansion, x
        residual = self.stride == 1 and x.shape[-1] == self.features
        if self.shift and residual and self.expansion > 1:
            y = TemporalShift(name='shift', **self.shift)(x, valid)
        y = y.reshape(-1, *y.shape[2:])
        depthwise = 1 if self.expansion > 1 else 0
        if depthwise:
            y = Conv2D(inner, name='conv_0_0', **self.options)(y)
            y = nn.relu6(BatchNorm(name='conv_0_1', **self.norm)(y, valid.reshape(-1), train))
        y = Conv2D(inner, (3, 3), (self.stride, self.stride), groups=inner, name=f'conv_{depthwise}_0',
                   **self.options)(y)
        y = nn.relu6(BatchNorm(name=f'conv_{depthwise}_1', **self.norm)(y, valid.reshape(-1), train))
        y = Conv2D(self.features, name=f'conv_{depthwise + 1}', **self.options)(y)
        y = BatchNorm(name=f'conv_{depthwise + 2}', **self.norm)(y, valid.reshape(-1), train)
        y = y.reshape(*x.shape[:2], *y.shape[1:])
        return x + y if residual else y


class MobileNetV2(ShiftNetwork):
    """MobileNetV2 on every frame; a token is a frame, averaged over its positions.

    2.2 M parameters without the head, 0.30 GMACs for a frame of 224 x 224. With `shift` it is TSM's network: channels
    move in the residual branches of the ten blocks that have one.

    Attributes:
      width_multiplier: scales every channel count, rounded as torchvision does; the last convolution's only upwards.
    """

    width_multiplier: float = 1.0

    @property
    def features(self) -> int:
        """Length of a token: 1280 at full width and below."""
        return rounded(1280 * max(1.0, self.width_multiplier))

    @nn.compact
    def layers(self) -> dict[str, nn.Module]:
        """Convolutions, BatchNorms and blocks, by name."""
        options = self.convolution
        shift = dict(direction=self.shift, div=self.shift_div) if self.shift else None
        block = rematerialised(InvertedResidual, self.remat)
        first = rounded(32 * self.width_multiplier)
        layers: dict[str, nn.Module] = {
            'features_0_0': Conv2D(first, (3, 3), (2, 2), name='features_0_0', **options),
            'features_0_1': BatchNorm(name='features_0_1', **self.norm(first=True))}
        index = 1
        for expansion, channels, count, stride in STAGES:
            for i in range(count):
                name = f'features_{index}'
                layers[name] = block(expansion, rounded(channels * self.width_multiplier), stride if i == 0 else 1,
                                     shift, self.norm(), options, name=name)
                index += 1
        return layers | {f'features_{LAST}_0': Conv2D(self.features, name=f'features_{LAST}_0', **options),
                         f'features_{LAST}_1': BatchNorm(name=f'features_{LAST}_1', **self.norm())}

    @nn.nowrap
    def encode(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoding:
        """See `FrameNetwork`; endpoints are `features_0` to `features_18`."""
        clip, rows, layers = x.shape[:2], valid.reshape(-1), self.layers()
        endpoints = {}
        for i in range(LAST + 1):
            name = f'features_{i}'
            if i in (0, LAST):
                x = layers[f'{name}_0'](x.reshape(-1, *x.shape[2:]))
                x = nn.relu6(layers[f'{name}_1'](x, rows, train))
                x = x.reshape(*clip, *x.shape[1:])
            else:
                x = layers[name](x, valid, train)
            x = endpoints[name] = yield Stage(name, x, valid)
        return x.mean((2, 3)), valid, endpoints
