"""VGG16 on the frames of a clip: Simonyan and Zisserman 2014, as in torchvision, whose names the modules carry."""

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.frames import FrameNetwork
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
    """VGG16 on every frame; a token is what the last layer but one gives, after its ReLU.

    134.3 M parameters without the head (119.5 M of them in the two hidden layers), 15.5 GMACs for a frame of
    224 x 224. Any size from 32 x 32 will do: positions are averaged to 7 x 7.

    Attributes:
      batch_norm: whether a BatchNorm follows every convolution.
      dropout: rate between the two hidden layers; torchvision has the same again before the head.
    """

    batch_norm: bool = False
    dropout: float = 0.5

    @property
    def features(self) -> int:
        """Length of a token."""
        return 4096

    @nn.compact
    def encode(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[jax.Array, jax.Array, dict[str, jax.Array]]:
        """See `FrameNetwork`; endpoints are `pool1` to `pool5` (B, T, H', W', C') and `classifier_0` (B, T, 4096).

        Raises:
          UserError: for pictures of less than 32 x 32.
        """
        clip = x.shape[:2]
        if min(x.shape[2:4]) < 32:
            raise UserError(f'VGG16 halves a picture five times and was given {x.shape[2]} x {x.shape[3]}; '
                            f'give 32 x 32 or more.')
        x, endpoints, index = x.reshape(-1, *x.shape[2:]), {}, 0
        for stage, widths in enumerate(STAGES, 1):
            for width in widths:
                x = Conv2D(width, (3, 3), use_bias=True, name=f'features_{index}', **self.convolution)(x)
                if self.batch_norm:
                    x = BatchNorm(name=f'features_{index + 1}', **self.norm(first=index == 0))(
                        x, valid.reshape(-1), train)
                x = nn.relu(x)
                index += 3 if self.batch_norm else 2
            x = max_pool2d(x, (2, 2), (2, 2), form=self.form)
            endpoints[f'pool{stage}'] = x.reshape(*clip, *x.shape[1:])
            index += 1
        # Flattened channels first, as the published weights expect it.
        x = jnp.moveaxis(adaptive_average(x, 7), -1, 1).reshape(*clip, -1)
        dense = dict(kernel_init=nn.initializers.normal(0.01), dtype=self.dtype, param_dtype=self.param_dtype)
        x = endpoints['classifier_0'] = nn.relu(nn.Dense(4096, name='classifier_0', **dense)(x))
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        return nn.relu(nn.Dense(4096, name='classifier_3', **dense)(x)), valid, endpoints
