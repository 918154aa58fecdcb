"""Residual networks on the frames of a clip, with and without the temporal shift: ResNet, TSN and TSM.

He et al., "Deep Residual Learning for Image Recognition", 2015, as in torchvision (the stride is in the 3x3
convolution); Wang et al., "Temporal Segment Networks", 2016; Lin, Gan and Han, "TSM: Temporal Shift Module for
Efficient Video Understanding", 2019, as in the authors' released code. Modules carry torchvision's names.
"""

from typing import Any

import jax
from flax import linen as nn

from vmmjax.models.convolutional import check_choice
from vmmjax.models.encoder_steps import Stage
from vmmjax.models.frame_network import Encoding, ShiftNetwork, scaled
from vmmjax.models.layers import BatchNorm, Conv2D, max_pool2d
from vmmjax.models.remat import rematerialised
from vmmjax.models.temporal_shift import NON_LOCAL_MODES, NonLocal, TemporalShift, temporal_pool

# Depth -> blocks of layer1 to layer4, and whether a block is a bottleneck of three convolutions.
LAYERS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    18: ((2, 2, 2, 2), False), 34: ((3, 4, 6, 3), False), 50: ((3, 4, 6, 3), True), 101: ((3, 4, 23, 3), True)}
SHIFT_PLACES = ('blockres', 'block')
# The blocks that a non-local block follows, as (layer, block).
NON_LOCAL = {(2, 0), (2, 2), (3, 0), (3, 2), (3, 4)}


class Block(nn.Module):
    """A residual block: two 3x3 convolutions, or a bottleneck of 1x1, 3x3, 1x1.

    Attributes:
      features: channels of the 3x3 convolution; a bottleneck has four times as many at its end.
      bottleneck: which of the two.
      stride: of the first 3x3 convolution.
      shift: options of a `TemporalShift` before the first convolution, or None.
      shift_place: 'blockres' shifts inside the residual branch, 'block' what both branches see.
      non_local: `mode` and `bias` of a `NonLocal` block that follows, or None.
      norm: options of every BatchNorm.
      options: of every convolution, `form`, `dtype` and `param_dtype`.
    """

    features: int
    bottleneck: bool
    stride: int
    shift: Any
    shift_place: str
    non_local: Any
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> jax.Array:
        """(B, T, H, W, C) -> (B, T, H', W', C'); `valid` (B, T)."""
        clip, rows = x.shape[:2], valid.reshape(-1)
        y = TemporalShift(name='shift', **self.shift)(x, valid) if self.shift else x
        if self.shift_place == 'block':
            x = y
        x, y = (z.reshape(-1, *z.shape[2:]) for z in (x, y))
        sizes = (1, 3, 1) if self.bottleneck else (3, 3)
        for i, size in enumerate(sizes, 1):
            features = 4 * self.features if i == 3 else self.features
            stride = self.stride if i == sizes.index(3) + 1 else 1
            y = Conv2D(features, (size, size), (stride, stride), name=f'conv{i}', **self.options)(y)
            y = BatchNorm(name=f'bn{i}', **self.norm)(y, rows, train)
            y = nn.relu(y) if i < len(sizes) else y
        if self.stride > 1 or x.shape[-1] != y.shape[-1]:
            x = Conv2D(y.shape[-1], (1, 1), (self.stride, self.stride), name='downsample_0', **self.options)(x)
            x = BatchNorm(name='downsample_1', **self.norm)(x, rows, train)
        x = nn.relu(x + y)
        x = x.reshape(*clip, *x.shape[1:])
        if self.non_local:
            x = NonLocal(norm=self.norm, options=self.options, name='nl', **self.non_local)(x, valid, train)
        return x


class ResNet(ShiftNetwork):
    """A residual network on every frame; a token is a frame, averaged over its positions.

    On T frames with a consensus head it is TSN, with `shift` TSM. Without the head it has 11.2 (18), 21.3 (34), 23.5
    (50) or 42.5 (101) M parameters, and needs 1.8, 3.7, 4.1 or 7.8 GMACs for a frame of 224 x 224.

    Attributes:
      depth: 18, 34, 50 or 101.
      width_multiplier: scales every channel count, rounded to a multiple of 8, at least 8; 1 is the published network.
      shift_place: 'blockres' shifts inside the residual branch (the paper's residual shift), 'block' before both
        branches (the paper's in-place shift). Inside the residual branch, a network with 23 or more blocks in
        layer3 shifts in every second block only.
      temporal_pool: whether time is halved after layer1, by the maximum of three frames.
      non_local: whether non-local blocks follow blocks 0 and 2 of layer2 and 0, 2 and 4 of layer3, where there are
        so many: 7.4 M parameters at depth 50.
      non_local_mode: see `temporal_shift.NonLocal`.
      non_local_bias: see `temporal_shift.NonLocal`.
    """

    depth: int = 50
    width_multiplier: float = 1.0
    shift_place: str = 'blockres'
    temporal_pool: bool = False
    non_local: bool = False
    non_local_mode: str = 'embedded_gaussian'
    non_local_bias: bool = True

    def __post_init__(self) -> None:
        """Checks the options."""
        check_choice('depth', self.depth, LAYERS)
        check_choice('shift_place', self.shift_place, SHIFT_PLACES)
        check_choice('non_local_mode', self.non_local_mode, NON_LOCAL_MODES)
        super().__post_init__()

    @property
    def features(self) -> int:
        """Length of a token: 512 at full width, of a network of bottlenecks 2048."""
        return scaled(512, self.width_multiplier) * (4 if LAYERS[self.depth][1] else 1)

    @property
    def looks_ahead(self) -> str | None:
        """See `FrameNetwork`."""
        if self.temporal_pool:
            return 'temporal_pool=False'
        return 'non_local=False' if self.non_local else super().looks_ahead

    @nn.compact
    def layers(self) -> dict[str, nn.Module]:
        """The first convolution, its BatchNorm and every block, by name."""
        options = self.convolution
        shift = dict(direction=self.shift, div=self.shift_div) if self.shift else None
        non_local = dict(mode=self.non_local_mode, bias=self.non_local_bias) if self.non_local else None
        counts, bottleneck = LAYERS[self.depth]
        every = 2 if counts[2] >= 23 and self.shift_place == 'blockres' else 1
        block = rematerialised(Block, self.remat)
        layers: dict[str, nn.Module] = {
            'conv1': Conv2D(scaled(64, self.width_multiplier), (7, 7), (2, 2), name='conv1', **options),
            'bn1': BatchNorm(name='bn1', **self.norm(first=True))}
        for layer, count in enumerate(counts, 1):
            for i in range(count):
                name = f'layer{layer}_{i}'
                layers[name] = block(
                    features=scaled(32 * 2 ** layer, self.width_multiplier), bottleneck=bottleneck,
                    stride=2 if layer > 1 and i == 0 else 1,
                    shift=shift if i % every == 0 else None, shift_place=self.shift_place,
                    non_local=non_local if (layer, i) in NON_LOCAL else None, norm=self.norm(), options=options,
                    name=name)
        return layers

    @nn.nowrap
    def encode(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoding:
        """See `FrameNetwork`; endpoints are `conv1` (with BatchNorm and ReLU), `maxpool`, every block as `layer1_0`
        and every layer as `layer1`.
        """
        clip, layers = x.shape[:2], self.layers()
        x = layers['conv1'](x.reshape(-1, *x.shape[2:]))
        x = nn.relu(layers['bn1'](x, valid.reshape(-1), train))
        endpoints = {}
        x = endpoints['conv1'] = yield Stage('conv1', x.reshape(*clip, *x.shape[1:]), valid)
        x = max_pool2d(x.reshape(-1, *x.shape[2:]), (3, 3), (2, 2), (1, 1), self.form)
        x = endpoints['maxpool'] = yield Stage('maxpool', x.reshape(*clip, *x.shape[1:]), valid)
        for layer, count in enumerate(LAYERS[self.depth][0], 1):
            if layer == 2 and self.temporal_pool:
                x, valid = temporal_pool(x, valid, self.form)
            for i in range(count):
                name = f'layer{layer}_{i}'
                x = endpoints[name] = yield Stage(name, layers[name](x, valid, train), valid)
            x = endpoints[f'layer{layer}'] = yield Stage(f'layer{layer}', x, valid)
        return x.mean((2, 3)), valid, endpoints
