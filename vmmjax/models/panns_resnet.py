"""PANNs' residual networks on log-mels: ResNet22, ResNet38 and ResNet54; see `panns`."""

from typing import Any

import jax
from flax import linen as nn

from vmmjax.models.convolutional import check_choice
from vmmjax.models.dropout import Dropout
from vmmjax.models.encoder_steps import Stage
from vmmjax.models.frame_network import scaled
from vmmjax.models.layers import BatchNorm, Conv2D
from vmmjax.models.panns import PANN, Body, halve, halve_mask, shown
from vmmjax.models.remat import rematerialised

# Depth -> blocks of layer1 to layer4, and whether a block is a bottleneck of three convolutions.
RESNETS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    22: ((2, 2, 2, 2), False), 38: ((3, 4, 6, 3), False), 54: ((3, 4, 6, 3), True)}


class AudioBlock(nn.Module):
    """A residual block: two 3x3 convolutions, or a bottleneck of 1x1, 3x3, 1x1; a stride is an average pool before.

    Attributes:
      features: channels of the 3x3 convolution; a bottleneck has four times as many at its end.
      bottleneck: which of the two.
      stride: 1 or 2.
      dropout: rate before the last convolution.
      norm: options of every BatchNorm.
      options: of every convolution.
    """

    features: int
    bottleneck: bool
    stride: int
    dropout: float
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        """(B, F, M, C) -> (B, F / stride, M / stride, C'); `mask` (B, F / stride)."""
        if self.stride == 2:
            x = halve(x)
        y, sizes = x, (1, 3, 1) if self.bottleneck else (3, 3)
        for i, size in enumerate(sizes, 1):
            last = i == len(sizes)
            if last:
                y = Dropout(self.dropout, deterministic=not train)(y)
            features = 4 * self.features if i == 3 else self.features
            y = Conv2D(features, (size, size), name=f'conv{i}', **self.options)(shown(y, mask))
            begin = nn.initializers.zeros if last else nn.initializers.ones
            y = BatchNorm(scale_init=begin, name=f'bn{i}', **self.norm)(y, mask, train)
            y = y if last else nn.relu(y)
        if x.shape != y.shape:
            # Their first place is the pool's, where there is one.
            x = Conv2D(y.shape[-1], (1, 1), name=f'downsample_{self.stride - 1}', **self.options)(x)
            x = BatchNorm(name=f'downsample_{self.stride}', **self.norm)(x, mask, train)
        return nn.relu(x + y)


class AudioLayers(nn.Module):
    """Four layers of `AudioBlock`s.

    Attributes:
      counts: blocks of each.
      widths: channels of each.
      bottleneck: see `AudioBlock`.
      dropout: see `AudioBlock`.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
      norm: options of every BatchNorm.
      options: of every convolution.
    """

    counts: tuple[int, int, int, int]
    widths: tuple[int, ...]
    bottleneck: bool
    dropout: float
    remat: bool | str
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array,
                 train: bool) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """(B, F, M, C), (B, F) -> (B, F // 8, M // 8, C'), (B, F // 8), every block and every layer by name."""
        block = rematerialised(AudioBlock, self.remat)
        endpoints = {}
        for layer, (count, width) in enumerate(zip(self.counts, self.widths, strict=True), 1):
            for i in range(count):
                stride = 2 if layer > 1 and i == 0 else 1
                mask = halve_mask(mask) if stride == 2 else mask
                x = endpoints[f'layer{layer}_{i}'] = block(
                    width, self.bottleneck, stride, self.dropout, self.norm, self.options,
                    name=f'layer{layer}_{i}')(x, mask, train)
            endpoints[f'layer{layer}'] = x
        return x, mask, endpoints


class AudioResNet(PANN):
    """ResNet22, ResNet38 and ResNet54 up to their embedding: 62.6, 72.7 and 103.2 M parameters, 14.0, 23.4 and
    26.1 GMACs on 10 s (1001 x 64).

    Attributes:
      depth: 22, 38 or 54.
      width_multiplier: scales every channel count before the embedding, rounded to a multiple of 8; 1 is the published
        network.
      residual_dropout: rate before every residual block's last convolution.
    """

    depth: int = 38
    width_multiplier: float = 1.0
    residual_dropout: float = 0.1

    def __post_init__(self) -> None:
        """Checks the options."""
        check_choice('depth', self.depth, RESNETS)
        super().__post_init__()

    @property
    def halvings(self) -> int:
        """Five."""
        return 5

    def blocks(self) -> dict[str, nn.Module]:
        """See `PANN`."""
        counts, bottleneck = RESNETS[self.depth]
        first, *widths, last = (scaled(channels, self.width_multiplier) for channels in (64, 64, 128, 256, 512, 2048))
        return {'conv_block1': self.block(first, 3, 2, 'conv_block1'),
                'resnet': AudioLayers(counts, tuple(widths), bottleneck, self.residual_dropout, self.remat, self.norm(),
                                      self.convolution, name='resnet'),
                'conv_block_after1': self.block(last, 3, 2, 'conv_block_after1'),
                **{f'dropout{i}': Dropout(self.block_dropout) for i in (1, 2, 3)}}

    @nn.nowrap
    def body(self, layers: dict[str, nn.Module], x: jax.Array, mask: jax.Array, train: bool) -> Body:
        """See `PANN`; of the residual layers it stops after the last."""
        x, mask = halve(layers['conv_block1'](x, mask, train)), halve_mask(mask)
        endpoints = {}
        x = endpoints['conv_block1'] = yield Stage('conv_block1', x, mask)
        x = layers['dropout1'](x, deterministic=not train)
        x, mask, found = layers['resnet'](x, mask, train)
        x = found['layer4'] = yield Stage('layer4', x, mask)
        x, mask = layers['dropout2'](halve(x), deterministic=not train), halve_mask(mask)
        x = layers['conv_block_after1'](x, mask, train)
        x = endpoints['conv_block_after1'] = yield Stage('conv_block_after1', x, mask)
        return layers['dropout3'](x, deterministic=not train), mask, endpoints | found
