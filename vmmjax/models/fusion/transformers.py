"""Transformers over the tokens of all streams, at once or through a bottleneck."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.fusion.attention import LAYER_NORM_EPS, SHARED, TokenFusion
from vmmjax.models.fusion.base import counted, single
from vmmjax.models.tokens import Fused, Tokens
from vmmjax.models.transformer import Block, Encoder, layer_norm, published_init


class Transformer(TokenFusion):
    """A transformer over the tokens of all streams, which all look at each other.

    `[c; X_1; X_2; ...]` goes through pre-norm blocks (`vmmjax.models.transformer.Block`, 4 D units, GELU), where c is
    a learned token and `X_m` are the embedded tokens of stream m; the result is LayerNorm of c at the end. The tokens
    of an absent stream are not looked at.
    """

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """Fuses tokens (B, N, D_m) of each stream; `present` (B,) bool says in which rows a stream is there."""
        anything = self.there(present).any(-1)
        cls = Tokens(learned(self, 'cls', 1, anything.shape[0]), anything[:, None])
        every = [cls, *self.embed(tokens).values()]
        options = block_options(self) | dict(dropout=self.dropout, shared=SHARED)
        encoder = Encoder(self.num_hidden_layers, False, options, name='encoder')
        mask = jnp.concatenate([some.mask for some in every], 1)
        x, _ = encoder(jnp.concatenate([some.x for some in every], 1), mask, train)
        norm = layer_norm(LAYER_NORM_EPS, dtype=self.dtype, name='norm')
        return single(norm(x[:, 0]), anything)


class Bottleneck(TokenFusion):
    """Attention bottlenecks (MBT: Nagrani et al. 2021): streams see each other through a few tokens only.

    Every stream m has a learned token c_m, its embedded tokens, and blocks of its own (as of `Transformer`). Layers
    before `fusion_layer` are `[c_m; X_m] = block_m([c_m; X_m])`. From it on, with z the bottleneck, `[c_m; X_m; z_m] =
    block_m([c_m; X_m; z])` and then `z = sum_m p_m z_m / sum_m p_m`: the mean of the copies that the streams present
    have made, so that what one stream knows reaches another one layer later. At the end every stream is the LayerNorm
    of its c_m; the head scores each and averages over those present.

    In training a row's streams lose parts of blocks at random (stochastic depth): the last block's attention and
    perceptron with the probability `dropout` (0.3 in the paper), the first's never, those between in proportion.

    Attributes:
      fusion_layer: the first layer with a bottleneck; 0 is the first of all, `num_hidden_layers` none.
      num_bottlenecks: tokens of z.
    """

    fusion_layer: int = 0
    num_bottlenecks: int = 4

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """See `Transformer`."""
        there = self.there(present)
        rows = there.shape[0]
        x, mask = {}, {}
        for name, some in self.embed(tokens).items():
            x[name] = jnp.concatenate([learned(self, f'cls_{name}', 1, rows), some.x], 1)
            mask[name] = jnp.concatenate([present[name][:, None], some.mask], 1)
        counts = counted(there).astype(self.dtype)[..., None, None]
        for i in range(self.num_hidden_layers):
            if i == self.fusion_layer:
                bottleneck = learned(self, 'bottleneck', self.num_bottlenecks, rows)
            rate = self.dropout * i / max(1, self.num_hidden_layers - 1)
            copies = []
            for name in self.streams:
                block = Block(name=f'layer_{i}_{name}', dropout=rate, shared=(1, 2), **block_options(self))
                if i < self.fusion_layer:
                    x[name] = block(x[name], mask[name], train)
                else:
                    both = jnp.pad(mask[name], ((0, 0), (0, self.num_bottlenecks)), constant_values=True)
                    y = block(jnp.concatenate([x[name], bottleneck], 1), both, train)
                    x[name], copy = jnp.split(y, [x[name].shape[1]], 1)
                    copies.append(copy)
            if copies:
                bottleneck = (jnp.stack(copies, 1) * counts).sum(1) / counts.sum(1)
        norm = layer_norm(LAYER_NORM_EPS, dtype=self.dtype, name='norm')
        return self.per_stream(jnp.stack([norm(x[name][:, 0]) for name in self.streams], 1), there)


def block_options(fusion: TokenFusion) -> dict[str, Any]:
    """The options of a fusion's `Block`s."""
    return dict(num_attention_heads=fusion.num_attention_heads, intermediate_size=4 * fusion.features, pre_norm=True,
                layer_norm_eps=LAYER_NORM_EPS, dtype=fusion.dtype)


def learned(fusion: TokenFusion, name: str, count: int, rows: int) -> jax.Array:
    """Learned tokens (rows, count, D), the same in every row."""
    values = fusion.param(name, published_init, (count, fusion.features)).astype(fusion.dtype)
    return jnp.broadcast_to(values, (rows, count, fusion.features))
