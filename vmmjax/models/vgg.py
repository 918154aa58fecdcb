"""VGG16 on the frames of a clip: Simonyan and Zisserman 2014, as in torchvision, whose names the modules carry."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.dropout import Dropout
from vmmjax.models.encoder_steps import Stage
from vmmjax.models.frame_network import Encoding, FrameNetwork, scaled
from vmmjax.models.layers import BatchNorm, Conv2D, max_pool2d

# Channels of the 3x3 convolutions; a pool closes each stage.
STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


def adaptive_average(x: jax.Array, size: int) -> jax.Array:
    """(B, H, W, C) -> (B, size, size, C): PyTorch's `AdaptiveAvgPool2d`, whose windows may overlap."""
    for axis in (1, 2):
        length = x.shape[axis]
        if length != size:
            windows = [(i * length // size, -(-(i + 1) * length // size)) for i in range(size)]
            x = jnp.stack([jax.lax.slice_in_dim(x, *window, axis=axis).mean(axis) for window in windows], axis)
    return x


class VGG16(FrameNetwork):
    """VGG16 on every frame; a token is what the last layer but one gives, after its ReLU, or the mean of `pool5`.

    134.3 M parameters without the head (119.5 M of them in the two hidden layers), 15.5 GMACs for a frame of
    224 x 224. Any size from 32 x 32 will do: positions are averaged to 7 x 7.

    Attributes:
      width_multiplier: scales every channel count and the hidden layers, rounded to a multiple of 8, at least 8; 1 is
        the published network.
      batch_norm: whether a BatchNorm follows every convolution.
      hidden: whether the two hidden layers follow the convolutions; without them a token is the mean over the positions
        of `pool5`, and the network has 14.7 M parameters.
      dropout: rate between the two hidden layers; torchvision has the same again before the head.
    """

    width_multiplier: float = 1.0
    batch_norm: bool = False
    hidden: bool = True
    dropout: float = 0.5

    @property
    def features(self) -> int:
        """Length of a token: at full width 4096, without hidden layers 512."""
        return scaled(4096 if self.hidden else STAGES[-1][-1], self.width_multiplier)

    @nn.compact
    def layers(self) -> tuple[list[list[list[nn.Module]]], list[nn.Dense], Dropout]:
        """Of every stage each convolution, with its BatchNorm where it has one; the hidden layers; the dropout."""
        stages, index = [], 0
        for widths in STAGES:
            stage = []
            for width in widths:
                parts: list[nn.Module] = [
                    Conv2D(scaled(width, self.width_multiplier), (3, 3), use_bias=True, name=f'features_{index}',
                           **self.convolution)]
                if self.batch_norm:
                    parts.append(BatchNorm(name=f'features_{index + 1}', **self.norm(first=index == 0)))
                stage.append(parts)
                index += 3 if self.batch_norm else 2
            stages.append(stage)
            index += 1
        # As published at full width; where there are fewer inputs they are as strong together.
        init = nn.initializers.normal(0.01 * self.width_multiplier ** -0.5)
        dense = dict(kernel_init=init, dtype=self.dtype, param_dtype=self.param_dtype)
        hidden = [nn.Dense(self.features, name=f'classifier_{i}', **dense) for i in (0, 3)] if self.hidden else []
        return stages, hidden, Dropout(self.dropout)

    @nn.nowrap
    def encode(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoding:
        """See `FrameNetwork`; endpoints are `pool1` to `pool5` (B, T, H', W', C') and `classifier_0` (B, T, 4096).

        Without hidden layers there is no `classifier_0`.

        Raises:
          UserError: for pictures of less than 32 x 32.
        """
        clip = x.shape[:2]
        if min(x.shape[2:4]) < 32:
            raise UserError(f'VGG16 halves a picture five times and was given {x.shape[2]} x {x.shape[3]}; '
                            f'give 32 x 32 or more.')
        stages, hidden, dropout = self.layers()
        endpoints = {}
        for i, stage in enumerate(stages, 1):
            x = x.reshape(-1, *x.shape[2:])
            for convolution, *norms in stage:
                x = convolution(x)
                for norm in norms:
                    x = norm(x, valid.reshape(-1), train)
                x = nn.relu(x)
            x = max_pool2d(x, (2, 2), (2, 2), form=self.form)
            x = endpoints[f'pool{i}'] = yield Stage(f'pool{i}', x.reshape(*clip, *x.shape[1:]), valid)
        if not hidden:
            return x.mean((2, 3)), valid, endpoints
        first, second = hidden
        # Flattened channels first, as the published weights expect it.
        x = jnp.moveaxis(adaptive_average(x.reshape(-1, *x.shape[2:]), 7), -1, 1).reshape(*clip, -1)
        x = endpoints['classifier_0'] = yield Stage('classifier_0', nn.relu(first(x)), valid)
        return nn.relu(second(dropout(x, deterministic=not train))), valid, endpoints
