"""AST: an image transformer that reads a spectrogram (Gong et al. 2021)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.dropout import Dropout
from vmmjax.models.layers import Conv2D
from vmmjax.models.tokens import Tokens
from vmmjax.models.transformer import Encoder, Positions, heads, layer_norm, published_init


class AST(nn.Module):
    """The audio spectrogram transformer; at the default sizes 86.2 M parameters, 131 GMACs on 1024 x 128.

    The token is the mean of the two tokens put before the patches, normalised twice as published, so that a linear
    head on it gives the published logits. Frames that are not valid are not attended to; the published network was
    trained on 10 s, shorter sounds padded with zeros before normalisation and attended to: for its very outputs
    give it such frames (0.4670) as valid.

    Attributes:
      patch_size: frames, and mel bands, of a patch.
      stride: frames, and mel bands, from one patch to the next.
      hidden_size: length of a token.
      num_hidden_layers: blocks.
      num_attention_heads: heads of each; None is the published one for each 64 features.
      intermediate_size: units of each block's perceptron.
      layer_norm_eps: added to the variance in normalisation.
      dropout: rate in the embeddings, the attention's weights and after each part of a block.
      stochastic_depth: rate at which a row loses the last block's parts; the first's never, those between in
        proportion.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
      form: of the convolution, see `layers`.
      dtype: computations; normalisation and softmax are float32.
      param_dtype: parameters.
    """

    patch_size: int = 16
    stride: int = 10
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int | None = None
    intermediate_size: int = 3072
    layer_norm_eps: float = 1e-12
    dropout: float = 0.0
    stochastic_depth: float = 0.0
    remat: bool | str = False
    form: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def features(self) -> int:
        """Length of a token."""
        return self.hidden_size

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a log-mel spectrogram.

        Args:
          x: float (B, F, M), Kaldi's filter banks, (x + 4.2677393) / (2 * 4.5689974) of the natural logarithm.
          valid: bool (B, F); a patch is valid where any of its frames is.
          train: whether dropout is on.

        Returns:
          A token (B, 1, hidden_size), and the endpoints `layer_0` and so on, `hidden` (the last one normalised) and
          `pooled` (B, hidden_size), the mean of its first two tokens.

        Raises:
          UserError: for another number of patches than the parameters were made for, or none.
        """
        if min(x.shape[1:]) < self.patch_size:
            raise UserError(f'A spectrogram of {x.shape[1]} frames and {x.shape[2]} bands holds no patch of '
                            f'{self.patch_size} x {self.patch_size}; give more of the sound.')
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        block = dict(num_attention_heads=heads(self.hidden_size, self.num_attention_heads, {}),
                     intermediate_size=self.intermediate_size, pre_norm=True, layer_norm_eps=self.layer_norm_eps,
                     dropout=self.dropout, **dtypes)
        # Patches are in the published order: of all bands, those of one band after another.
        size, stride = (self.patch_size,) * 2, (self.stride,) * 2
        x = Conv2D(self.hidden_size, size, stride, (0, 0), use_bias=True, kernel_init=published_init, form=self.form,
                   name='patch_embeddings', **dtypes)(x.swapaxes(1, 2)[..., None])
        batch, bands, times, _ = x.shape
        starts = self.stride * jnp.arange(times)
        seen = jnp.tile(valid[:, starts[:, None] + jnp.arange(self.patch_size)].any(-1), (1, bands))
        x, mask = Positions(('cls_token', 'distillation_token'), name='embeddings', **dtypes)(
            x.reshape(batch, bands * times, -1), seen)
        x = Dropout(self.dropout, deterministic=not train)(x)
        encoder = Encoder(self.num_hidden_layers, self.remat, block, self.stochastic_depth, name='encoder')
        x, endpoints = encoder(x, mask, train)
        x = endpoints['hidden'] = layer_norm(self.layer_norm_eps, name='layernorm', **dtypes)(x)
        x = endpoints['pooled'] = (x[:, 0] + x[:, 1]) / 2
        x = layer_norm(self.layer_norm_eps, name='classifier_layernorm', **dtypes)(x)
        return Tokens(x[:, None], valid.any(1, keepdims=True)), endpoints
