"""Transformers on pictures and clips: ViT (Dosovitskiy et al. 2020) and ViViT (Arnab et al. 2021)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.convolution import Shape3
from vmmjax.models.dropout import Dropout
from vmmjax.models.tokens import Tokens, coarser
from vmmjax.models.transformer import Encoder, Positions, heads, layer_norm, published_init


def central_frame_init(key: jax.Array, shape: Shape3, dtype: Any = jnp.float32) -> jax.Array:
    """A kernel (t, h, w, C, D) that begins as a picture's, at the middle of its frames (Arnab et al. 2021, eq. 9)."""
    return jnp.zeros(shape, dtype).at[shape[0] // 2].set(published_init(key, shape[1:], dtype))


class Tubelets(nn.Module):
    """A linear map of every tubelet, `kernel` (t, h, w, C, features) and `bias`: a convolution that does not overlap.

    What is left over at the end of an axis is not seen, as in the published convolution.
    """

    features: int
    size: Shape3
    dtype: Any
    param_dtype: Any
    kernel_init: Any = central_frame_init

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, T, H, W, C) -> (B, T / t, H / h * W / w, features).

        Raises:
          UserError: for a clip smaller than a tubelet.
        """
        counts = [length // step for length, step in zip(x.shape[1:4], self.size, strict=True)]
        if 0 in counts:
            raise UserError(f'A clip of {" x ".join(map(str, x.shape[1:4]))} (frames, height, width) holds no tubelet '
                            f'of {" x ".join(map(str, self.size))}; give more frames or larger pictures.')
        kernel = self.param('kernel', self.kernel_init, (*self.size, x.shape[-1], self.features), self.param_dtype)
        bias = self.param('bias', nn.initializers.zeros, (self.features,), self.param_dtype)
        (nt, nh, nw), (t, h, w) = counts, self.size
        x = x[:, :nt * t, :nh * h, :nw * w].astype(self.dtype).reshape(x.shape[0], nt, t, nh, h, nw, w, -1)
        x = jnp.einsum('bntyhxwc,thwcd->bnyxd', x, kernel.astype(self.dtype)) + bias.astype(self.dtype)
        return x.reshape(x.shape[0], nt, nh * nw, -1)


class VideoTransformer(nn.Module):
    """Attention over tubelets, t frames of h x w pixels each.

    A spatial encoder, a ViT, sees the tubelets of one time; its first token stands for them. A temporal encoder
    sees these tokens of all times ("factorised encoder", model 2 of the ViViT paper). Without temporal layers and
    with tubelets of one frame it is a ViT on every frame. A joint encoder sees the tubelets of all times at once
    ("model 1"), and needs no temporal one. The number of frames and the size of the pictures are free, and fixed
    when the parameters are made.

    On 32 x 224 x 224 at the default sizes, ViT-B with 4 temporal layers: 115 M parameters, 283 GMACs; the joint
    one: 88.7 M, 452 GMACs. ViT-B alone: 85.8 M, 17.6 GMACs a frame.

    Attributes:
      tubelet: its frames, height and width.
      hidden_size: length of a token.
      num_hidden_layers: blocks of the spatial, or joint, encoder.
      temporal_layers: blocks of the temporal encoder; 0 for none.
      joint: whether the first encoder sees all times at once.
      num_attention_heads: heads of each block; None is the published number for the hidden size: one for each 64
        features, 16 for 1280 (ViT-H).
      intermediate_size: units of each block's perceptron.
      layer_norm_eps: added to the variance in normalisation.
      hidden_act: activation, a key of `transformer.ACTIVATIONS`.
      dropout: rate in the embeddings, the attention's weights and after each part of a block.
      stochastic_depth: rate at which a frame, in a joint encoder a clip, loses the parts of the first encoder's last
        block; the first block's never, those between in proportion.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
      dtype: computations; normalisation and softmax are float32.
      param_dtype: parameters.
    """

    tubelet: Shape3 = (2, 16, 16)
    hidden_size: int = 768
    num_hidden_layers: int = 12
    temporal_layers: int = 4
    joint: bool = False
    num_attention_heads: int | None = None
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-6
    hidden_act: str = 'gelu'
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
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a clip.

        Args:
          x: float (B, T, H, W, C).
          valid: bool (B, T); a tubelet is valid where any of its frames is, and no valid one attends to another.
          train: whether dropout is on.

        Returns:
          Tokens (B, T / t, hidden_size), a single one of a joint encoder, and the endpoints `patches`
          (B, T / t, N, hidden_size), `layer_0` and so on and `hidden` of the spatial or joint encoder, the frames of
          a spatial one in the batch, and `temporal_layer_0` and so on.

        Raises:
          UserError: for a clip of another size than the parameters were made for, or smaller than a tubelet.
        """
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        block = dict(num_attention_heads=heads(self.hidden_size, self.num_attention_heads, {1280: 16}),
                     intermediate_size=self.intermediate_size, pre_norm=True, layer_norm_eps=self.layer_norm_eps,
                     hidden_act=self.hidden_act, dropout=self.dropout, **dtypes)
        dropout = Dropout(self.dropout, deterministic=not train)
        x = Tubelets(self.hidden_size, self.tubelet, name='patch_embeddings', **dtypes)(x)
        endpoints = {'patches': x}
        batch, times, patches, _ = x.shape
        valid = coarser(valid[:, :times * self.tubelet[0]], self.tubelet[0])
        if self.joint:
            x, mask = x.reshape(batch, times * patches, -1), jnp.repeat(valid, patches, 1)
            valid = valid.any(1, keepdims=True)
        else:
            x, mask = x.reshape(batch * times, patches, -1), None
        x, mask = Positions(('cls_token',), name='embeddings', **dtypes)(x, mask)
        encoder = Encoder(self.num_hidden_layers, self.remat, block, self.stochastic_depth, name='encoder')
        x, layers = encoder(dropout(x), mask, train)
        x = endpoints['hidden'] = layer_norm(self.layer_norm_eps, name='layernorm', **dtypes)(x)
        endpoints |= layers
        x = x[:, 0].reshape(*valid.shape, -1)
        if self.temporal_layers:
            x, _ = Positions((), name='temporal_embeddings', **dtypes)(x, None)
            x, layers = Encoder(self.temporal_layers, self.remat, block, name='temporal_encoder')(
                dropout(x), valid, train)
            x = layer_norm(self.layer_norm_eps, name='temporal_layernorm', **dtypes)(x)
            endpoints |= {f'temporal_{name}': value for name, value in layers.items()}
        return Tokens(x, valid), endpoints
