"""A transformer that can be given some of its patches only, and the decoder that predicts the others.

VideoMAE (Tong et al. 2022) on clips; on spectrograms AudioMAE (Huang et al. 2022) without its class token.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vmmjax.models.convolution import Shape3
from vmmjax.models.dropout import Dropout
from vmmjax.models.patches import as_clip, of_patches
from vmmjax.models.tokens import Tokens, masked_mean
from vmmjax.models.transformer import Encoder, heads, layer_norm, published_init
from vmmjax.models.video_transformer import Tubelets

Grid = tuple[int, int, int]


def positions(grid: Grid, features: int) -> np.ndarray:
    """Fixed vectors for the patches of a grid, float32 (N, features).

    Of a clip, by the place in the whole sequence, times first, then rows and columns: sine at even, cosine at odd
    places j of `pos / 10000^(2 floor(j / 2) / D)`, as VideoMAE's code counts. Of a single picture (a spectrogram), by
    column in the first half of the features and by row in the second, each sines and then cosines, as that of MAE.

    Args:
      grid: times, rows, columns.
      features: D, a multiple of 4 for a single picture.
    """
    times, rows, columns = grid
    if times > 1:
        angles = np.outer(np.arange(times * rows * columns), 1e4 ** (-2 * (np.arange(features) // 2) / features))
        return np.where(np.arange(features) % 2, np.cos(angles), np.sin(angles)).astype(np.float32)
    frequencies = 1e4 ** (-np.arange(features // 4) / (features / 4))
    row, column = (np.outer(place.reshape(-1), frequencies) for place in np.indices((rows, columns)))
    return np.concatenate([np.sin(column), np.cos(column), np.sin(row), np.cos(row)], 1).astype(np.float32)


def grid_of(x: jax.Array, size: Shape3) -> Grid:
    """The patches of a clip (B, T, H, W, C), or of a spectrogram (B, F, M), along its axes."""
    times, rows, columns = (length // step for length, step in zip(as_clip(x, size)[0].shape[1:4], size, strict=True))
    return times, rows, columns


def chosen(x: jax.Array, places: jax.Array) -> jax.Array:
    """Of each row (N, ...) of x those at the row's places, (B, N, ...) and int32 (B, K) -> (B, K, ...)."""
    return jnp.take_along_axis(x, places.reshape(*places.shape, *(1,) * (x.ndim - 2)), 1)


class MaskedTransformer(nn.Module):
    """Attention over the patches of a clip or a spectrogram, or over those that are kept; positions are fixed.

    VideoMAE's ViT-B at the default sizes: on 16 x 224 x 224 1568 tokens, 86.2 M parameters.

    Attributes:
      size: frames, height and width of a patch; of a spectrogram's 1, frames and mel bands.
      pooled: whether the token is the mean over the patches, normalised by a norm of its own, as in fine-tuning; else
        there is one for each patch, normalised by the norm of pretraining.
      hidden_size: length of a token.
      num_hidden_layers: blocks.
      num_attention_heads: heads of each; None is the published number: one for each 64 features, 16 for 1280 (ViT-H).
      intermediate_size: units of each block's perceptron.
      layer_norm_eps: added to the variance in normalisation.
      dropout: rate in the embeddings, the attention's weights and after each part of a block.
      stochastic_depth: rate at which a row loses the last block's parts; the first's never, those between in
        proportion.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
      dtype: computations; normalisation and softmax are float32.
      param_dtype: parameters.
    """

    size: Shape3 = (2, 16, 16)
    pooled: bool = True
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int | None = None
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-6
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    remat: bool | str = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def features(self) -> int:
        """Length of a token."""
        return self.hidden_size

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool, keep: jax.Array | None = None
                 ) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a clip, or a spectrogram.

        Args:
          x: float (B, T, H, W, C) or (B, F, M).
          valid: bool (B, T) or (B, F); a patch is valid where any of its frames is, and no valid one attends to
            another.
          train: whether dropout is on.
          keep: int32 (B, K), the patches that are seen, by their place in the sequence; None for all, N.

        Returns:
          Tokens (B, 1, hidden_size) where pooled, else (B, N or K, hidden_size), and the endpoints `layer_0` and so on.

        Raises:
          UserError: for an input smaller than a patch; for a spectrogram whose patches are several pictures thick.
        """
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        block = dict(num_attention_heads=heads(self.hidden_size, self.num_attention_heads, {1280: 16}),
                     intermediate_size=self.intermediate_size, pre_norm=True, layer_norm_eps=self.layer_norm_eps,
                     key_bias=False, dropout=self.dropout, **dtypes)
        grid = grid_of(x, self.size)
        x, frames = as_clip(x, self.size)
        x = Tubelets(self.hidden_size, self.size, kernel_init=published_init, name='patch_embeddings', **dtypes)(x)
        x = x.reshape(x.shape[0], -1, self.hidden_size) + positions(grid, self.hidden_size).astype(x.dtype)
        mask = of_patches(valid, frames, x.shape[1])
        if keep is not None:
            x, mask = chosen(x, keep), chosen(mask, keep)
        x = Dropout(self.dropout, deterministic=not train)(x)
        encoder = Encoder(self.num_hidden_layers, self.remat, block, self.stochastic_depth, name='encoder')
        x, endpoints = encoder(x, mask, train)
        if self.pooled:
            x = layer_norm(self.layer_norm_eps, name='fc_norm', **dtypes)(masked_mean(x, mask))
            return Tokens(x[:, None], mask.any(1, keepdims=True)), endpoints
        return Tokens(layer_norm(self.layer_norm_eps, name='layernorm', **dtypes)(x), mask), endpoints


class MaskedDecoder(nn.Module):
    """Predicts the values of hidden patches from the tokens of those that are seen, of one or of several streams.

    Seen tokens, mapped to the decoder's size, and a learned token for each hidden patch stand behind each other, each
    with its fixed position (VideoMAE); of several streams each token also has a learned vector of its stream, and all
    attend to all (Georgescu et al. 2023).

    Attributes:
      values: stream -> numbers of a patch.
      hidden_size: length of a token.
      num_hidden_layers: blocks.
      num_attention_heads: heads of each; None is one for each 64 features.
      layer_norm_eps: added to the variance in normalisation.
    """

    values: Mapping[str, int]
    hidden_size: int = 384
    num_hidden_layers: int = 4
    num_attention_heads: int | None = None
    layer_norm_eps: float = 1e-6

    @nn.compact
    def __call__(self, seen: Mapping[str, Tokens], places: Mapping[str, tuple[jax.Array, jax.Array]],
                 hidden: Mapping[str, jax.Array], grids: Mapping[str, Grid]) -> dict[str, jax.Array]:
        """Predicts.

        Args:
          seen: by stream (B, K, D).
          places: by stream those of the seen patches, int32 (B, K), and of the hidden ones, (B, M).
          hidden: by stream bool (B, M), which hidden ones are valid; only these are attended to.
          grids: of the streams.

        Returns:
          By stream float (B, M, values).
        """
        first, last = [], []
        for name in sorted(self.values):
            table = jnp.asarray(positions(grids[name], self.hidden_size))
            x = nn.Dense(self.hidden_size, use_bias=False, kernel_init=published_init, name=f'embed_{name}')(
                seen[name].x)
            token = self.param(f'mask_token_{name}', published_init, (1, 1, self.hidden_size))
            if len(self.values) > 1:
                table += self.param(f'stream_{name}', published_init, (1, self.hidden_size))
            first.append(Tokens(x + table[places[name][0]], seen[name].mask))
            last.append(Tokens(token + table[places[name][1]], hidden[name]))
        block = dict(num_attention_heads=heads(self.hidden_size, self.num_attention_heads, {}), key_bias=False,
                     intermediate_size=4 * self.hidden_size, pre_norm=True, layer_norm_eps=self.layer_norm_eps)
        # The dtype is that of what comes in, float32 at least.
        dtype = jnp.promote_types(first[0].x.dtype, jnp.float32)
        x, _ = Encoder(self.num_hidden_layers, False, {**block, 'dtype': dtype}, name='decoder')(
            jnp.concatenate([tokens.x.astype(dtype) for tokens in (*first, *last)], 1),
            jnp.concatenate([tokens.mask for tokens in (*first, *last)], 1), False)
        sizes = np.cumsum([tokens.x.shape[1] for tokens in (*first, *last)])
        parts = jnp.split(x, sizes[:-1], 1)[len(first):]
        norm = layer_norm(self.layer_norm_eps, name='norm')
        return {name: nn.Dense(self.values[name], kernel_init=published_init, name=f'head_{name}')(norm(part))
                for name, part in zip(sorted(self.values), parts, strict=True)}
