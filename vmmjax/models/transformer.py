"""Transformer encoders: attention that sees only what is there, and the block that BERT, ViT, ViViT and AST share."""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.dropout import Dropout
from vmmjax.models.remat import rematerialised
from vmmjax.registry import find

# By Hugging Face's names: the exact Gaussian form, and the one by a hyperbolic tangent.
ACTIVATIONS = {'gelu': functools.partial(nn.gelu, approximate=False), 'gelu_fast': nn.gelu}

published_init = nn.initializers.truncated_normal(0.02)


def attend(query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array | None, dropout: Any) -> jax.Array:
    """Scaled dot-product attention (Vaswani et al. 2017), its scores and their softmax in float32 at least.

    Args:
      query: (B, N, H, D).
      key: (B, M, H, D).
      value: (B, M, H, D).
      mask: bool (B, M), or (B, N, M) of every query: keys that are not valid get no weight, and a query without any
        gives zeros and no gradient. None where all are valid.
      dropout: applied to the weights.

    Returns:
      (B, N, H, D) of the values' dtype.
    """
    wide = jnp.promote_types(query.dtype, jnp.float32)
    scores = jnp.einsum('bnhd,bmhd->bhnm', query, key, preferred_element_type=wide) * key.shape[-1] ** -0.5
    if mask is not None:
        mask = mask[:, None] if mask.ndim == 2 else mask
        # The smallest number, not minus infinity, whose softmax would be NaN in a row without a valid key.
        scores = jnp.where(mask[:, None], scores, jnp.finfo(wide).min)
    weights = dropout(nn.softmax(scores)).astype(value.dtype)
    y = jnp.einsum('bhnm,bmhd->bnhd', weights, value)
    return y if mask is None else jnp.where(mask.any(-1)[:, :, None, None], y, 0)


def heads(hidden_size: int, given: int | None, published: Mapping[int, int]) -> int:
    """The number of attention heads, which files of weights do not hold.

    Args:
      hidden_size: length of a token.
      given: the user's number, or None for the published one.
      published: the number by hidden size where it is not one head for each 64 features.

    Raises:
      UserError: for None where no published network has that size, or a number that does not divide the size.
    """
    if given is None and hidden_size not in published and (hidden_size % 64 or hidden_size < 128):
        raise UserError(f'How many attention heads share {hidden_size} features cannot be told from the weights; set '
                        f'num_attention_heads.')
    number = published.get(hidden_size, hidden_size // 64) if given is None else given
    if number < 1 or hidden_size % number:
        raise UserError(f'num_attention_heads is {number}, which does not divide the hidden_size of {hidden_size}.')
    return number


class Attention(nn.Module):
    """Self-attention of several heads: `query`, `key`, `value` and `output`, each with an offset.

    The offset of the key, which changes no output, may be left out.
    """

    num_attention_heads: int
    dropout: float
    dtype: Any
    param_dtype: Any
    key_bias: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        """(B, N, D) and the mask of `attend` -> (B, N, D)."""
        dense = functools.partial(nn.Dense, x.shape[-1], kernel_init=published_init, dtype=self.dtype,
                                  param_dtype=self.param_dtype)
        query, key, value = (dense(name=name, use_bias=name != 'key' or self.key_bias)(x).reshape(
            *x.shape[:2], self.num_attention_heads, -1) for name in ('query', 'key', 'value'))
        y = attend(query, key, value, mask, Dropout(self.dropout, deterministic=not train))
        return dense(name='output')(y.reshape(x.shape))


class Block(nn.Module):
    """Attention and a perceptron, each added to what enters it.

    Attributes:
      num_attention_heads: heads.
      intermediate_size: units of the perceptron.
      pre_norm: whether normalisation comes before each part, as in ViT, or after each sum, as in BERT.
      layer_norm_eps: added to the variance.
      hidden_act: a key of `ACTIVATIONS`.
      dropout: rate on the attention's weights and on what each part adds.
      shared: axes of (B, N, D) along which the same is dropped of what a part adds, and the attention's weights are
        left alone: with 1 all tokens of a row lose the same units; with 1 and 2 the row loses the part.
      stochastic_depth: rate at which a row loses what a part adds, beside `dropout` (Huang et al. 2016).
      key_bias: whether the attention's keys have an offset.
      dtype: computations; normalisation and softmax are float32 at least.
      param_dtype: parameters.
    """

    num_attention_heads: int
    intermediate_size: int
    pre_norm: bool
    layer_norm_eps: float = 1e-12
    hidden_act: str = 'gelu'
    dropout: float = 0.0
    shared: Sequence[int] = ()
    stochastic_depth: float = 0.0
    key_bias: bool = True
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> jax.Array:
        """(B, N, D) and the mask of `attend` -> (B, N, D)."""
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        dense = dict(kernel_init=published_init, **dtypes)
        dropout = Dropout(self.dropout, self.shared, deterministic=not train)
        keep = Dropout(self.stochastic_depth, (1, 2), deterministic=not train)
        activation = find(self.hidden_act, ACTIVATIONS, 'hidden_act')
        attention = Attention(self.num_attention_heads, 0.0 if self.shared else self.dropout, key_bias=self.key_bias,
                              name='attention', **dtypes)
        intermediate = nn.Dense(self.intermediate_size, name='intermediate', **dense)
        output = nn.Dense(x.shape[-1], name='output', **dense)
        norms = [layer_norm(self.layer_norm_eps, name=name, **dtypes) for name in ('attention_norm', 'output_norm')]
        parts = (lambda y: attention(y, mask, train), lambda y: output(activation(intermediate(y))))
        for part, norm in zip(parts, norms, strict=True):
            x = x + keep(dropout(part(norm(x)))) if self.pre_norm else norm(x + keep(dropout(part(x))))
        return x


def layer_norm(epsilon: float, **options: Any) -> nn.LayerNorm:
    """LayerNorm with the variance taken from the deviations, as in PyTorch: the mean of squares loses digits."""
    return nn.LayerNorm(epsilon, use_fast_variance=False, **options)


class Encoder(nn.Module):
    """Blocks one after another, `layer_0` first.

    Attributes:
      num_hidden_layers: blocks.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
      options: of every `Block`.
      stochastic_depth: the last block's rate; the first has none, those between in proportion.
    """

    num_hidden_layers: int
    remat: bool | str
    options: Mapping[str, Any]
    stochastic_depth: float = 0.0

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None, train: bool) -> tuple[jax.Array, dict[str, jax.Array]]:
        """(B, N, D) and the mask of `attend` -> the last block's output, and every block's by name."""
        block = rematerialised(Block, self.remat)
        endpoints = {}
        for i in range(self.num_hidden_layers):
            rate = self.stochastic_depth * i / max(1, self.num_hidden_layers - 1)
            x = endpoints[f'layer_{i}'] = block(
                name=f'layer_{i}', stochastic_depth=rate, **self.options)(x, mask, train)
        return x, endpoints


class Positions(nn.Module):
    """Puts learned tokens before a sequence, and adds a learned vector at every position.

    Attributes:
      first: names of the tokens put before, such as `cls_token`.
      init: initialiser of them and of the positions.
      dtype: computations.
      param_dtype: parameters.
    """

    first: Sequence[str]
    init: Any = published_init
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array | None) -> tuple[jax.Array, jax.Array | None]:
        """(B, N, D), and a mask (B, N) or None -> (B, N + first, D), and the mask of that or None.

        Raises:
          UserError: where there are not as many positions as there were at initialisation.
        """
        batch, size, features = x.shape
        count = len(self.first) + size
        if self.has_variable('params', 'position_embeddings'):
            known: int = self.get_variable('params', 'position_embeddings').shape[1]
            if known != count:
                raise UserError(f'The input has {size} patches, and the network was made for '
                                f'{known - len(self.first)}; give inputs of the size that it was made for, padded '
                                f'with frames that are not valid where they are shorter.')
        tokens = [self.param(name, self.init, (1, 1, features), self.param_dtype) for name in self.first]
        positions = self.param('position_embeddings', self.init, (1, count, features), self.param_dtype)
        x = jnp.concatenate([*(jnp.broadcast_to(token, (batch, 1, features)).astype(self.dtype) for token in tokens),
                             x.astype(self.dtype)], 1) + positions.astype(self.dtype)
        return x, None if mask is None else jnp.pad(mask, ((0, 0), (len(self.first), 0)), constant_values=True)
