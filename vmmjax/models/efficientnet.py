"""EfficientNet-Lite0 on the frames of a clip, with and without the temporal shift.

Tan and Le, "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks", 2019, table 1, in the form that
Google released in 2020 for phones: no squeeze-and-excitation, ReLU6. Modules are named as in `efficientnet_pytorch`,
without the underscores in front. The shift is where it is in MobileNetV2.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.convolution import same_padding
from vmmjax.models.encoder_steps import Stage
from vmmjax.models.frame_network import Encoding, ShiftNetwork, scaled
from vmmjax.models.layers import BatchNorm, Conv2D
from vmmjax.models.remat import rematerialised
from vmmjax.models.temporal_shift import TemporalShift

# Expansion, channels, blocks, stride of the first, size of the kernel.
STAGES = ((1, 16, 1, 1, 3), (6, 24, 2, 2, 3), (6, 40, 2, 2, 5), (6, 80, 3, 2, 3), (6, 112, 3, 1, 5), (6, 192, 4, 2, 5),
          (6, 320, 1, 1, 3))
STEM, HEAD = 32, 1280  # Channels of the first convolution and of the last.


def _strided(x: jax.Array, size: int) -> jax.Array:
    """Pads (B, H, W, C) as TensorFlow's SAME does for a stride of 2: where the edges differ, more at the end."""
    return jnp.pad(x, ((0, 0), *(same_padding(length, size, 2) for length in x.shape[1:3]), (0, 0)))


class MBConv(nn.Module):
    """Inverted residual: 1x1 expansion, depthwise convolution, 1x1 projection; residual where shapes are equal.

    Attributes:
      expansion: channels inside as a multiple of those that come in; at 1 the first convolution is left out.
      features: channels that come out.
      stride: of the middle convolution, 1 or 2.
      size: of its kernel.
      shift: options of a `TemporalShift` inside the residual branch, or None; without a residual nothing is shifted.
      norm: options of every BatchNorm.
      options: of every convolution, `form`, `dtype` and `param_dtype`.
    """

    expansion: int
    features: int
    stride: int
    size: int
    shift: Any
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> jax.Array:
        """(B, T, H, W, C) -> (B, T, H', W', features); `valid` (B, T)."""
        inner, rows, y = x.shape[-1] * self.expansion, valid.reshape(-1), x
        residual = self.stride == 1 and x.shape[-1] == self.features
        if self.shift and residual and self.expansion > 1:
            y = TemporalShift(name='shift', **self.shift)(x, valid)
        y = y.reshape(-1, *y.shape[2:])
        if self.expansion > 1:
            y = Conv2D(inner, name='expand_conv', **self.options)(y)
            y = nn.relu6(BatchNorm(name='bn0', **self.norm)(y, rows, train))
        strided = self.stride > 1
        y = Conv2D(inner, (self.size, self.size), (self.stride, self.stride), (0, 0) if strided else None, groups=inner,
                   name='depthwise_conv', **self.options)(_strided(y, self.size) if strided else y)
        y = nn.relu6(BatchNorm(name='bn1', **self.norm)(y, rows, train))
        y = Conv2D(self.features, name='project_conv', **self.options)(y)
        y = BatchNorm(name='bn2', **self.norm)(y, rows, train)
        y = y.reshape(*x.shape[:2], *y.shape[1:])
        return x + y if residual else y


class EfficientNetLite(ShiftNetwork):
    """EfficientNet-Lite0 on every frame; a token is a frame, averaged over its positions.

    3.4 M parameters without the head, 0.39 GMACs for a frame of 224 x 224. With `shift` channels move between frames
    in the residual branches of the nine blocks that have one.

    Attributes:
      width_multiplier: scales every channel count, rounded to a multiple of 8, at least 8; 1 is the published network.
    """

    width_multiplier: float = 1.0

    @property
    def features(self) -> int:
        """Length of a token: 1280 at full width."""
        return scaled(HEAD, self.width_multiplier)

    @nn.compact
    def layers(self) -> tuple[list[nn.Module], list[nn.Module], list[nn.Module]]:
        """The first convolution with its BatchNorm, the blocks, and the last with its own."""
        options = self.convolution
        shift = dict(direction=self.shift, div=self.shift_div) if self.shift else None
        block = rematerialised(MBConv, self.remat)
        stem = [Conv2D(scaled(STEM, self.width_multiplier), (3, 3), (2, 2), (0, 0), name='conv_stem', **options),
                BatchNorm(name='bn0', **self.norm(first=True))]
        blocks: list[nn.Module] = []
        for expansion, channels, count, stride, size in STAGES:
            for i in range(count):
                blocks.append(block(expansion, scaled(channels, self.width_multiplier), stride if i == 0 else 1, size,
                                    shift, self.norm(), options, name=f'blocks_{len(blocks)}'))
        return stem, blocks, [Conv2D(self.features, name='conv_head', **options),
                              BatchNorm(name='bn1', **self.norm())]

    @nn.nowrap
    def norm(self, first: bool = False) -> dict[str, Any]:
        """See `ConvolutionalNetwork`; the epsilon is TensorFlow's."""
        return super().norm(first) | dict(epsilon=1e-3)

    @nn.nowrap
    def encode(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoding:
        """See `FrameNetwork`; endpoints are `stem`, `blocks_0` to `blocks_15` and `head`."""
        clip, rows = x.shape[:2], valid.reshape(-1)
        stem, blocks, head = self.layers()
        endpoints = {}

        def outer(x: jax.Array, convolution: nn.Module, norm: nn.Module) -> jax.Array:
            x = nn.relu6(norm(convolution(x), rows, train))
            return x.reshape(*clip, *x.shape[1:])

        x = outer(_strided(x.reshape(-1, *x.shape[2:]), 3), *stem)
        x = endpoints['stem'] = yield Stage('stem', x, valid)
        for i, block in enumerate(blocks):
            x = endpoints[f'blocks_{i}'] = yield Stage(f'blocks_{i}', block(x, valid, train), valid)
        x = outer(x.reshape(-1, *x.shape[2:]), *head)
        x = endpoints['head'] = yield Stage('head', x, valid)
        return x.mean((2, 3)), valid, endpoints
