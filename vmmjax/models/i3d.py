"""I3D: Inception-V1 inflated to three dimensions.

Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", 2017; every layer as
in the authors' released code, under its published name.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.convolution import Shape3, conv3d
from vmmjax.models.convolutional import ConvolutionalNetwork
from vmmjax.models.encoder_steps import Encoded, Stage, Stages, run
from vmmjax.models.layers import BatchNorm, max_pool3d, unit_init
from vmmjax.models.remat import rematerialised
from vmmjax.models.tokens import Tokens, coarser

# Channels of Branch_0, Branch_1 (1x1, 3x3), Branch_2 (1x1, 3x3), Branch_3 (after the pool).
MIXED: dict[str, tuple[int, int, int, int, int, int]] = {
    'Mixed_3b': (64, 96, 128, 16, 32, 32),
    'Mixed_3c': (128, 128, 192, 32, 96, 64),
    'Mixed_4b': (192, 96, 208, 16, 48, 64),
    'Mixed_4c': (160, 112, 224, 24, 64, 64),
    'Mixed_4d': (128, 128, 256, 24, 64, 64),
    'Mixed_4e': (112, 144, 288, 32, 64, 64),
    'Mixed_4f': (256, 160, 320, 32, 128, 128),
    'Mixed_5b': (256, 160, 320, 32, 128, 128),
    'Mixed_5c': (384, 192, 384, 48, 128, 128),
}
# Window and strides of the pools, by the endpoint they follow.
POOLS: dict[str, tuple[str, Shape3, Shape3]] = {
    'Conv3d_1a_7x7': ('MaxPool3d_2a_3x3', (1, 3, 3), (1, 2, 2)),
    'Conv3d_2c_3x3': ('MaxPool3d_3a_3x3', (1, 3, 3), (1, 2, 2)),
    'Mixed_3c': ('MaxPool3d_4a_3x3', (3, 3, 3), (2, 2, 2)),
    'Mixed_4f': ('MaxPool3d_5a_2x2', (2, 2, 2), (2, 2, 2)),
}


class Kernel(nn.Module):
    """The weights of a convolution, `kernel` (kt, kh, kw, in, out), so that several can be joined before use."""

    features: int
    size: Shape3
    param_dtype: Any

    @nn.compact
    def __call__(self, inputs: int) -> jax.Array:
        """The weights for so many input channels."""
        return self.param('kernel', unit_init, (*self.size, inputs, self.features), self.param_dtype)


class Unit3D(nn.Module):
    """SAME convolution without bias, BatchNorm without scale, ReLU."""

    features: int
    size: Shape3 = (1, 1, 1)
    strides: Shape3 = (1, 1, 1)
    bn_momentum: float = 0.999
    bn_scale: bool = False
    bn_groups: int = 1
    frozen: bool = False
    form: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        """Parts, under their published names."""
        self.conv_3d = Kernel(self.features, self.size, self.param_dtype)
        self.batch_norm = BatchNorm(self.bn_momentum, use_scale=self.bn_scale, groups=self.bn_groups,
                                    frozen=self.frozen, dtype=self.dtype, param_dtype=self.param_dtype)

    def kernel(self, inputs: int) -> jax.Array:
        """The convolution's weights in the dtype it is computed in."""
        return self.conv_3d(inputs).astype(self.dtype)

    def activate(self, x: jax.Array, rows: jax.Array, train: bool) -> jax.Array:
        """What follows the convolution."""
        return nn.relu(self.batch_norm(x, rows, train))

    def __call__(self, x: jax.Array, rows: jax.Array, train: bool) -> jax.Array:
        """(B, T, H, W, C) -> (B, T', H', W', features); `rows` (B,) are those that count in the statistics."""
        return self.activate(conv3d(x, self.kernel(x.shape[-1]), self.strides, self.form), rows, train)


class Branch(nn.Module):
    """Units under their published names, one after another; `window` is that of the 3x3 ones."""

    names: Sequence[str]
    sizes: Sequence[int]
    window: Shape3
    options: Any

    def setup(self) -> None:
        """Its units."""
        self.units = [Unit3D(size, self.window if name.endswith('3x3') else (1, 1, 1), name=name, **self.options)
                      for name, size in zip(self.names, self.sizes, strict=True)]


class Mixed(nn.Module):
    """An Inception block: four branches, concatenated.

    Attributes:
      sizes: channels, in the order of `MIXED`.
      misnamed: whether Branch_2's second unit is `Conv3d_0a_3x3`, as the released Mixed_5b has it.
      window: of the pool and of the 3x3 convolutions.
      options: of every unit.
    """

    sizes: Sequence[int]
    misnamed: bool
    window: Shape3
    options: Any

    def setup(self) -> None:
        """Its branches."""
        b0, b1a, b1b, b2a, b2b, b3 = self.sizes
        second = 'Conv3d_0a_3x3' if self.misnamed else 'Conv3d_0b_3x3'
        self.branches = [
            Branch(('Conv3d_0a_1x1',), (b0,), self.window, self.options, name='Branch_0'),
            Branch(('Conv3d_0a_1x1', 'Conv3d_0b_3x3'), (b1a, b1b), self.window, self.options, name='Branch_1'),
            Branch(('Conv3d_0a_1x1', second), (b2a, b2b), self.window, self.options, name='Branch_2'),
            Branch(('Conv3d_0b_1x1',), (b3,), self.window, self.options, name='Branch_3'),
        ]

    def __call__(self, x: jax.Array, rows: jax.Array, train: bool) -> jax.Array:
        """(B, T, H, W, C) -> (B, T, H, W, sum of the branches)."""
        form = self.options['form']
        # The three 1x1x1 convolutions of the same input are one: it is read once.
        first = [branch.units[0] for branch in self.branches[:3]]
        joint = conv3d(x, jnp.concatenate([unit.kernel(x.shape[-1]) for unit in first], -1), form=form)
        edges = (first[0].features, first[0].features + first[1].features)
        y0, y1, y2 = (unit.activate(part, rows, train)
                      for unit, part in zip(first, jnp.split(joint, edges, -1), strict=True))
        y1, y2 = (branch.units[1](y, rows, train) for branch, y in zip(self.branches[1:3], (y1, y2), strict=True))
        pooled = max_pool3d(x, self.window, (1, 1, 1), form)
        return jnp.concatenate([y0, y1, y2, self.branches[3].units[0](pooled, rows, train)], -1)


class I3D(ConvolutionalNetwork):
    """The I3D network up to its average pool; 12.3 M parameters, and 27.8 GMACs on 16 x 224 x 224.

    Any length and any size will do. A token is what the published average pool gives: the mean of two (of one,
    where there is but one) neighbouring time steps of Mixed_5c, each about 8 frames, over the whole picture.
    For further options see `ConvolutionalNetwork`.

    Attributes:
      width_multiplier: scales every channel count, rounded to a multiple of 4, at least 4; 1 is the paper's.
      bn_momentum: decay of BatchNorm's running statistics.
      bn_scale: whether BatchNorm has a learned factor, as ports to PyTorch have and the paper's network has not.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
    """

    width_multiplier: float = 1.0
    bn_momentum: float = 0.999
    bn_scale: bool = False
    remat: bool | str = False
    over_time: ClassVar[bool] = True  # Whether kernels, pools and strides reach over several frames.

    def _scaled(self, channels: int) -> int:
        return max(4, 4 * round(channels * self.width_multiplier / 4))

    def _window(self, window: Shape3) -> Shape3:
        return window if self.over_time else (1, *window[1:])

    @property
    def features(self) -> int:
        """Length of a token: 1024 at full width."""
        b0, _, b1, _, b2, b3 = MIXED['Mixed_5c']
        return sum(self._scaled(size) for size in (b0, b1, b2, b3))

    @nn.compact
    def layers(self) -> dict[str, nn.Module]:
        """The layers by their published names, in order, pools left out."""
        options = dict(bn_momentum=self.bn_momentum, bn_scale=self.bn_scale, bn_groups=self.bn_groups,
                       frozen=self.frozen(), **self.convolution)
        first = options | dict(frozen=self.frozen(first=True))
        mixed = rematerialised(Mixed, self.remat)
        layers: dict[str, nn.Module] = {
            'Conv3d_1a_7x7': Unit3D(self._scaled(64), self._window((7, 7, 7)), self._window((2, 2, 2)),
                                    name='Conv3d_1a_7x7', **first),
            'Conv3d_2b_1x1': Unit3D(self._scaled(64), name='Conv3d_2b_1x1', **options),
            'Conv3d_2c_3x3': Unit3D(self._scaled(192), self._window((3, 3, 3)), name='Conv3d_2c_3x3', **options)}
        return layers | {name: mixed([self._scaled(size) for size in sizes], name == 'Mixed_5b',
                                     self._window((3, 3, 3)), options, name=name) for name, sizes in MIXED.items()}

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoded:
        """Encodes a clip.

        Args:
          x: float (B, T, H, W, C); RGB or flow in [-1, 1].
          valid: bool (B, T); rows with no valid frame do not count in BatchNorm's statistics.
          train: whether BatchNorm uses, and updates from, the batch.

        Returns:
          Tokens (B, max(1, ceil(T / 8) - 1), features), and every endpoint up to Mixed_5c by its published name.
        """
        return run(self.stages(x, valid, train))

    @nn.nowrap
    def stages(self, x: jax.Array, valid: jax.Array, train: bool) -> Stages:
        """The same, stopping at every endpoint, see `vmmjax.models.encoder_steps`."""
        rows, x, endpoints, factor = valid.any(1), x.astype(self.dtype), {}, self._window((2, 2, 2))[0]
        for name, layer in self.layers().items():
            x = endpoints[name] = yield Stage(name, layer(x, rows, train), coarser(valid, factor))
            if name in POOLS:
                pool, *sizes = POOLS[name]
                window, strides = map(self._window, sizes)
                x, factor = max_pool3d(x, window, strides, self.form), factor * strides[0]
                x = endpoints[pool] = yield Stage(pool, x, coarser(valid, factor))
        x, mask = x.mean((2, 3)), coarser(valid, factor)
        if self.over_time and x.shape[1] > 1:
            x, mask = (x[:, :-1] + x[:, 1:]) / 2, mask[:, :-1] | mask[:, 1:]
        return Tokens(x, mask), endpoints


class InceptionV1(I3D):
    """The network that I3D is inflated from: each picture by itself, with kernels of one frame; 5.6 M parameters.

    Szegedy et al., "Going Deeper with Convolutions", 2015, with BatchNorm and 3x3 in place of 5x5 kernels, as the
    authors of I3D began with it. A clip gives tokens (B, T, features). What it learned of pictures is a beginning for
    I3D by `init_from.fit = (('encoders_.*/kernel', 'mean'),)`.
    """

    over_time: ClassVar[bool] = False
