"""BERT: a transformer that reads a text from both sides (Devlin et al. 2018)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.dropout import Dropout
from vmmjax.models.embedding import WordEmbeddings
from vmmjax.models.tokens import Tokens
from vmmjax.models.transformer import Encoder, heads, layer_norm, published_init


class Embeddings(nn.Module):
    """A word's vector plus that of its position and that of the first of the token types, normalised."""

    vocab_size: int
    hidden_size: int
    max_position_embeddings: int
    type_vocab_size: int
    layer_norm_eps: float
    dropout: float
    dtype: Any
    param_dtype: Any

    @nn.compact
    def __call__(self, ids: jax.Array, valid: jax.Array, train: bool) -> jax.Array:
        """Positions in the vocabulary (B, L) -> (B, L, hidden_size)."""
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        table = dict(features=self.hidden_size, embedding_init=published_init, **dtypes)
        x = WordEmbeddings(self.vocab_size, self.hidden_size, published_init, name='word_embeddings', **dtypes)(
            ids, valid)
        x += nn.Embed(self.max_position_embeddings, name='position_embeddings', **table)(jnp.arange(ids.shape[1]))
        x += nn.Embed(self.type_vocab_size, name='token_type_embeddings', **table)(jnp.zeros(1, int))
        return Dropout(self.dropout, deterministic=not train)(
            layer_norm(self.layer_norm_eps, name='LayerNorm', **dtypes)(x))


class Bert(nn.Module):
    """BERT's encoder; at the default sizes (BERT-base) 108.9 M parameters, and 85 MMACs a word beside attention.

    A token is the last hidden state of a word. What is not valid is not attended to. Options are called as in
    Hugging Face's configurations.

    Attributes:
      vocab_size: words.
      hidden_size: length of a token.
      num_hidden_layers: blocks.
      num_attention_heads: heads of each; None is the published number for the hidden size: one for each 64
        features, 12 for 384 (MiniLM) and 312 (TinyBERT).
      intermediate_size: units of each block's perceptron.
      max_position_embeddings: words of the longest text.
      type_vocab_size: token types; every word is of the first.
      layer_norm_eps: added to the variance in normalisation.
      hidden_act: activation, a key of `transformer.ACTIVATIONS`.
      pooler: whether the endpoint `pooled` is there: the first token through a dense layer and tanh.
      dropout: rate in the embeddings, the attention's weights and after each part of a block; 0.1 as published.
      remat: what of a block is computed again in the backward pass, see `remat.rematerialised`.
      dtype: computations; normalisation and softmax are float32.
      param_dtype: parameters.
    """

    vocab_size: int = 30522
    hidden_size: int = 768
    num_hidden_layers: int = 12
    num_attention_heads: int | None = None
    intermediate_size: int = 3072
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    layer_norm_eps: float = 1e-12
    hidden_act: str = 'gelu'
    pooler: bool = False
    dropout: float = 0.1
    remat: bool | str = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def features(self) -> int:
        """Length of a token."""
        return self.hidden_size

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a text.

        Args:
          x: int (B, L), positions in the vocabulary, those of `[CLS]` and `[SEP]` among them.
          valid: bool (B, L).
          train: whether dropout is on.

        Returns:
          Tokens (B, L, hidden_size), and the endpoints `embeddings`, `layer_0` and so on, `hidden` (the last layer)
          and, with `pooler`, `pooled` (B, hidden_size).

        Raises:
          UserError: for a text that is too long, or ids outside of the vocabulary where their values are known.
        """
        if x.shape[1] > self.max_position_embeddings:
            raise UserError(f'The text has {x.shape[1]} words, and the network reads {self.max_position_embeddings} at '
                            f'most (max_position_embeddings); cut it.')
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        block = dict(num_attention_heads=heads(self.hidden_size, self.num_attention_heads, {384: 12, 312: 12}),
                     intermediate_size=self.intermediate_size, pre_norm=False, layer_norm_eps=self.layer_norm_eps,
                     hidden_act=self.hidden_act, dropout=self.dropout, **dtypes)
        embedded = Embeddings(self.vocab_size, self.hidden_size, self.max_position_embeddings, self.type_vocab_size,
                              self.layer_norm_eps, self.dropout, name='embeddings', **dtypes)(x, valid, train)
        hidden, layers = Encoder(self.num_hidden_layers, self.remat, block, name='encoder')(embedded, valid, train)
        endpoints = {'embeddings': embedded, **layers, 'hidden': hidden}
        if self.pooler:
            dense = nn.Dense(self.hidden_size, kernel_init=published_init, name='pooler', **dtypes)
            endpoints['pooled'] = jnp.tanh(dense(hidden[:, 0]))
        return Tokens(hidden, valid), endpoints
