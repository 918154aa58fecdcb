"""One-dimensional convolutional networks on the waveform itself.

Dai et al., "Very Deep Convolutional Neural Networks for Raw Waveforms", 2016.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.convolutional import ConvolutionalNetwork
from vmmjax.models.layers import BatchNorm, Conv2D, max_pool2d
from vmmjax.models.tokens import Tokens, coarser


class Conv1D(ConvolutionalNetwork):
    """M5, M11 and M18: a wide convolution, groups of narrow ones, no fully connected layer.

    The first convolution reaches over 80 samples (10 ms at the paper's 8 kHz) in steps of 4, all others over 3;
    each is followed by BatchNorm and ReLU, the first and the first three groups by a maximum of 4. So a token stands
    for 1024 samples, and the consensus of a linear head is the paper's global average pool. Invalid samples, and
    those beyond the end, are silence, whose features are zero at every layer: a clip may be padded to any length.
    For further options see `ConvolutionalNetwork`.

    | | `stem` | `groups` | parameters | GMACs, 4 s at 8 kHz |
    |---|---|---|---|---|
    | M5 | 128 | (1, 128), (1, 256), (1, 512) | 0.55 M | 0.28 |
    | M11 | 64 | (2, 64), (2, 128), (3, 256), (2, 512) | 1.8 M | 0.23 |
    | M18 | 64 | (4, 64), (4, 128), (4, 256), (4, 512) | 3.7 M | 0.40 |

    Attributes:
      stem: channels of the first convolution.
      groups: of the others: how many, and their channels.
      bn_momentum: decay of BatchNorm's running statistics.
    """

    stem: int = 64
    groups: Sequence[tuple[int, int]] = ((2, 64), (2, 128), (3, 256), (2, 512))
    bn_momentum: float = 0.99

    @property
    def features(self) -> int:
        """Length of a token: the channels of the last group."""
        return self.groups[-1][1]

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a waveform.

        Args:
          x: float (B, S), in -1..1.
          valid: bool (B, S).
          train: whether BatchNorm uses, and updates from, the batch.

        Returns:
          Tokens (B, ceil(S / 1024), features), valid where any of their samples is, and the endpoints `stem` and
          `group_1` and so on, (B, steps, channels), before pooling.
        """
        options = self.convolution | dict(kernel_init=nn.initializers.xavier_normal())
        x, mask = _padded(x[..., None]), coarser(valid, 4)
        endpoints = {}
        for i, (count, width) in enumerate(((1, self.stem), *self.groups)):
            taps, stride = (80, 4) if i == 0 else (3, 1)
            for j in range(count):
                # A row of pictures one sample high; as much padding as keeps, or quarters, the length.
                x = Conv2D(width, (1, taps), (1, stride), (0, (taps - stride + 1) // 2), name=f'conv{i}_{j}',
                           **options)(x[:, None])[:, 0]
                x = nn.relu(BatchNorm(name=f'bn{i}_{j}', **self.norm(first=i == 0))(x, mask, train))
                x = jnp.where(mask[..., None], x, 0)
            endpoints[f'group_{i}' if i else 'stem'] = x
            if i < 4:
                x, mask = max_pool2d(_padded(x)[:, None], (1, 4), (1, 4), form=self.form)[:, 0], coarser(mask, 4)
        return Tokens(x, mask), endpoints


def _padded(x: jax.Array) -> jax.Array:
    """(B, S, C) -> the same with zeros to a multiple of 4."""
    return jnp.pad(x, ((0, 0), (0, -x.shape[1] % 4), (0, 0)))
