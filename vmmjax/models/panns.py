"""PANNs: convolutional networks on log-mels, trained to tag AudioSet.

Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", 2020, as in the
authors' released code, under its names. A spectrogram is (B, F, M), decibels as `log_mel(waveform, 'panns_32k')`
makes them; SpecAugment, which the authors put after `bn0` in training, is left to the data.
"""

from collections.abc import Generator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.convolutional import ConvolutionalNetwork
from vmmjax.models.dropout import Dropout
from vmmjax.models.encoder_steps import Encoded, Stage, Stages, run
from vmmjax.models.layers import BatchNorm, Conv2D
from vmmjax.models.remat import rematerialised
from vmmjax.models.tokens import Tokens, masked_mean

init = nn.initializers.xavier_uniform()


def shown(x: jax.Array, mask: jax.Array) -> jax.Array:
    """(B, F, M, C) with zeros in the frames where `mask` (B, F) is False."""
    return jnp.where(mask[:, :, None, None], x, 0)


def halve(x: jax.Array) -> jax.Array:
    """Mean of 2 x 2 neighbours, (B, F, M, C) -> (B, F // 2, M // 2, C); what is left at an end is dropped."""
    batch, frames, bands, channels = x.shape
    pairs = x[:, :frames // 2 * 2, :bands // 2 * 2].reshape(batch, frames // 2, 2, bands // 2, 2, channels)
    return pairs.mean((2, 4))


def halve_mask(mask: jax.Array) -> jax.Array:
    """(B, F) -> (B, F // 2): whether both neighbours are valid, so that a clip ends where its sound does."""
    time = mask.shape[1] // 2 * 2
    return mask[:, :time:2] & mask[:, 1:time:2]


class ConvBlock(nn.Module):
    """Convolutions with BatchNorm and ReLU, which see nothing of invalid frames.

    Attributes:
      features: channels.
      size: height and width of every kernel.
      depth: number of convolutions.
      norm: options of every BatchNorm.
      options: of every convolution.
    """

    features: int
    size: int
    depth: int
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        """(B, F, M, C) -> (B, F, M, features); `mask` (B, F)."""
        for i in range(1, self.depth + 1):
            x = Conv2D(self.features, (self.size, self.size), name=f'conv{i}', **self.options)(shown(x, mask))
            x = nn.relu(BatchNorm(name=f'bn{i}', **self.norm)(x, mask, train))
        return x


Body = Generator[Stage, jax.Array, tuple[jax.Array, jax.Array, dict[str, jax.Array]]]


class PANN(ConvolutionalNetwork):
    """What all of them have in common: a BatchNorm a mel band, `body`, the mean over bands, the sum of mean and
    maximum over time, a layer. The network's first BatchNorm is `bn0`; for further options see `ConvolutionalNetwork`.

    Attributes:
      features: length of the embedding, which is the clip's only token.
      block_dropout: rate after every block.
      pool_dropout: rate before the embedding's layer.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
    """

    features: int = 2048
    block_dropout: float = 0.2
    pool_dropout: float = 0.5
    remat: bool | str = False

    @property
    def halvings(self) -> int:
        """How often time and frequency are halved."""
        raise NotImplementedError

    def blocks(self) -> dict[str, nn.Module]:
        """What `body` needs, by name; called where modules are made."""
        raise NotImplementedError

    @nn.nowrap
    def body(self, layers: dict[str, nn.Module], x: jax.Array, mask: jax.Array, train: bool) -> Body:
        """(B, F, M, 1), `mask` (B, F) -> (B, F', M', C) of no negative values, (B, F'), endpoints.

        A generator, as `stages`.
        """
        raise NotImplementedError

    @property
    def convolution(self) -> dict[str, Any]:
        """Options of every convolution."""
        return super().convolution | dict(kernel_init=init)

    def block(self, features: int, size: int, depth: int, name: str) -> nn.Module:
        """A `ConvBlock`."""
        block = rematerialised(ConvBlock, self.remat)
        return block(features, size, depth, self.norm(), self.convolution, name=name)

    @nn.compact
    def layers(self) -> dict[str, nn.Module]:
        """Every layer, by name."""
        dense = nn.Dense(self.features, kernel_init=init, dtype=self.dtype, param_dtype=self.param_dtype, name='fc1')
        return self.blocks() | {'bn0': BatchNorm(name='bn0', **self.norm(first=True)),
                                'dropout': Dropout(self.pool_dropout), 'fc1': dense}

    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> Encoded:
        """Encodes a log-mel spectrogram.

        Args:
          x: float (B, F, M).
          valid: bool (B, F); outputs are those of a clip that ends where its valid frames do. A clip that has less
            than a network needs has no valid token.
          train: whether BatchNorm and dropout are in training mode.

        Returns:
          Tokens (B, 1, features), and the endpoints `bn0` (B, F, M), every block (B, F', M', C), and `embedding`
          (B, features), which is the token.

        Raises:
          UserError: for a spectrogram of which halving leaves nothing.
        """
        return run(self.stages(x, valid, train))

    @nn.nowrap
    def stages(self, x: jax.Array, valid: jax.Array, train: bool) -> Stages:
        """The same, stopping at every endpoint but the embedding, see `vmmjax.models.encoder_steps`."""
        least = 2 ** self.halvings
        if min(x.shape[1:]) < least:
            raise UserError(f'This network takes log-mels (B, F, M) of at least {least} frames and {least} bands, and '
                            f'was given {x.shape}; give longer sound.')
        layers, endpoints = self.layers(), {}
        x = endpoints['bn0'] = yield Stage('bn0', layers['bn0'](x, valid, train), valid)
        x, mask, found = yield from self.body(layers, x[..., None], valid, train)
        x = jnp.where(mask[..., None], x.mean(2), 0)
        x = layers['dropout'](x.max(1) + masked_mean(x, mask), deterministic=not train)
        x = nn.relu(layers['fc1'](x))
        return Tokens(x[:, None], mask.any(1, keepdims=True)), endpoints | found | {'embedding': x}


class CNN(PANN):
    """Cnn6, Cnn10 and Cnn14 up to their embedding.

    | | `widths` | `size` | `depth` | `features` | parameters | GMACs on 10 s, 1001 x 64 |
    |---|---|---|---|---|---|---|
    | Cnn6 | 64 to 512 | 5 | 1 | 512 | 4.6 M | 9.9 |
    | Cnn10 | 64 to 512 | 3 | 2 | 512 | 4.9 M | 13.0 |
    | Cnn14 | 64 to 2048 | 3 | 2 | 2048 | 79.7 M | 20.0 |

    Cnn14_16k is Cnn14 on sound at 16 kHz: the same layers, another front end.

    Attributes:
      widths: channels of each block; the first five are followed by an average pool of 2 x 2.
      size: height and width of every kernel.
      depth: convolutions of a block.
    """

    widths: Sequence[int] = (64, 128, 256, 512, 1024, 2048)
    size: int = 3
    depth: int = 2

    @property
    def halvings(self) -> int:
        """Five, or as many as there are blocks."""
        return min(5, len(self.widths))

    def blocks(self) -> dict[str, nn.Module]:
        """See `PANN`."""
        blocks: dict[str, nn.Module] = {}
        for i, width in enumerate(self.widths, 1):
            blocks[f'conv_block{i}'] = self.block(width, self.size, self.depth, f'conv_block{i}')
            blocks[f'dropout{i}'] = Dropout(self.block_dropout)
        return blocks

    @nn.nowrap
    def body(self, layers: dict[str, nn.Module], x: jax.Array, mask: jax.Array, train: bool) -> Body:
        """See `PANN`."""
        endpoints = {}
        for i in range(1, len(self.widths) + 1):
            name = f'conv_block{i}'
            x = layers[name](x, mask, train)
            if i <= self.halvings:
                x, mask = halve(x), halve_mask(mask)
            x = endpoints[name] = yield Stage(name, x, mask)
            x = layers[f'dropout{i}'](x, deterministic=not train)
        return x, mask, endpoints
