"""The transformer decoder (Vaswani et al. 2017), with a cache for writing one token after another."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.dropout import Dropout
from vmmjax.models.tokens import Tokens
from vmmjax.models.transformer import attend, layer_norm, published_init

Heads = tuple[jax.Array, jax.Array]  # Keys and values, (B, M, heads, D / heads) each.


class Lookup(nn.Module):
    """Attention whose keys and values are made apart from its queries: `query`, `key`, `value` and `output`.

    Attributes:
      features: D.
      num_attention_heads: heads.
      dropout: rate on the weights.
      dtype: computations.
      param_dtype: parameters.
    """

    features: int
    num_attention_heads: int
    dropout: float
    dtype: Any
    param_dtype: Any

    def setup(self) -> None:
        """Its layers."""
        options = dict(kernel_init=published_init, dtype=self.dtype, param_dtype=self.param_dtype)
        self.query, self.key, self.value, self.output = (nn.Dense(self.features, **options) for _ in range(4))
        self.drop = Dropout(self.dropout)

    def heads(self, x: jax.Array) -> Heads:
        """The keys and values of (B, M, D')."""
        shape = (*x.shape[:2], self.num_attention_heads, -1)
        return self.key(x).reshape(shape), self.value(x).reshape(shape)

    def __call__(self, x: jax.Array, heads: Heads, mask: jax.Array, train: bool) -> jax.Array:
        """Queries (B, N, D), and the mask of `attend` -> (B, N, D)."""
        query = self.query(x).reshape(*x.shape[:2], self.num_attention_heads, -1)

        def dropped(weights: jax.Array) -> jax.Array:
            self.sow('intermediates', 'attention', weights)
            return self.drop(weights, deterministic=not train)

        y = attend(query, *heads, mask, dropped)
        return self.output(y.reshape(x.shape))


class DecoderBlock(nn.Module):
    """Attention to the text so far, attention to the memory, and a perceptron; each normalised before, and added.

    For its attributes see `TransformerDecoder`.
    """

    hidden_size: int
    num_attention_heads: int
    intermediate_size: int
    dropout: float
    dtype: Any
    param_dtype: Any

    def setup(self) -> None:
        """Its layers."""
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        attention = dict(num_attention_heads=self.num_attention_heads, dropout=self.dropout, **dtypes)
        self.text, self.memory = (Lookup(self.hidden_size, **attention) for _ in range(2))
        self.text_norm, self.memory_norm, self.output_norm = (layer_norm(1e-5, **dtypes) for _ in range(3))
        self.intermediate = nn.Dense(self.intermediate_size, kernel_init=published_init, **dtypes)
        self.output = nn.Dense(self.hidden_size, kernel_init=published_init, **dtypes)
        self.drop = Dropout(self.dropout)

    def heads(self, x: jax.Array) -> Heads:
        """Keys and values of the text (B, N, D)."""
        return self.text.heads(self.text_norm(x))

    def __call__(self, x: jax.Array, text: Heads, text_mask: jax.Array, memory: Heads, memory_mask: jax.Array,
                 train: bool) -> jax.Array:
        """(B, N, D), and the keys, values and masks of `attend` of the text so far and of the memory -> (B, N, D)."""
        def dropped(y: jax.Array) -> jax.Array:
            return self.drop(y, deterministic=not train)

        x = x + dropped(self.text(self.text_norm(x), text, text_mask, train))
        x = x + dropped(self.memory(self.memory_norm(x), memory, memory_mask, train))
        return x + dropped(self.output(nn.gelu(self.intermediate(self.output_norm(x)))))


class TransformerDecoder(nn.Module):
    """Layers of `DecoderBlock`; positions are sines and cosines of a token's place.

    Attributes:
      vocabulary: V.
      hidden_size: length of a token's vector, D.
      num_layers: blocks.
      num_attention_heads: heads.
      intermediate_size: units of the perceptrons.
      dropout: rate on the tokens' vectors, the attention's weights, and what each part of a block adds.
      dtype: computations; normalisation and softmax are float32 at least.
      param_dtype: parameters.
    """

    vocabulary: int
    hidden_size: int = 256
    num_layers: int = 2
    num_attention_heads: int = 4
    intermediate_size: int = 1024
    dropout: float = 0.1
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        """Its layers."""
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        self.embedding = nn.Embed(self.vocabulary, self.hidden_size, **dtypes)
        self.blocks = [DecoderBlock(self.hidden_size, self.num_attention_heads, self.intermediate_size, self.dropout,
                                    name=f'layer_{i}', **dtypes) for i in range(self.num_layers)]
        self.norm = layer_norm(1e-5, **dtypes)
        self.logits = nn.Dense(self.vocabulary, kernel_init=published_init, **dtypes)
        self.drop = Dropout(self.dropout)

    def __call__(self, ids: jax.Array, memory: Tokens, train: bool) -> jax.Array:
        """Logits float32 (B, L, V) of what follows each of the tokens int32 (B, L)."""
        rows, length = ids.shape
        fixed, _ = self.begin(memory, 0)
        x = self.drop(self._vectors(ids, jnp.arange(length)), deterministic=not train)
        before = jnp.broadcast_to(jnp.tri(length, dtype=bool), (rows, length, length))
        for block, heads in zip(self.blocks, fixed[0], strict=True):
            x = block(x, block.heads(x), before, heads, fixed[1], train)
        return self._scores(x)

    def begin(self, memory: Tokens, length: int) -> tuple[Any, list[Heads]]:
        """See `decoders`."""
        memory = memory.clean()
        empty = jnp.zeros((len(memory.x), length, self.num_attention_heads,
                           self.hidden_size // self.num_attention_heads), self.dtype)
        return ([block.memory.heads(memory.x) for block in self.blocks], memory.mask), [(empty, empty)
                                                                                        for _ in self.blocks]

    def step(self, ids: jax.Array, place: jax.Array, fixed: Any, state: list[Heads]
             ) -> tuple[jax.Array, list[Heads]]:
        """See `decoders`."""
        x, kept = self._vectors(ids[:, None], place[None]), []
        before = jnp.broadcast_to(jnp.arange(state[0][0].shape[1]) <= place, (len(ids), state[0][0].shape[1]))
        for block, memory, text in zip(self.blocks, fixed[0], state, strict=True):
            key, value = block.heads(x)
            kept.append((jax.lax.dynamic_update_slice_in_dim(text[0], key, place, 1),
                         jax.lax.dynamic_update_slice_in_dim(text[1], value, place, 1)))
            x = block(x, kept[-1], before, memory, fixed[1], False)
        return self._scores(x)[:, 0], kept

    def _vectors(self, ids: jax.Array, places: jax.Array) -> jax.Array:
        # Vaswani et al. 2017, sections 3.4 and 3.5; vectors have length 1 at first, as Flax draws them.
        half = jnp.arange((self.hidden_size + 1) // 2)
        angles = places[:, None] * 10000.0 ** (-2 * half / self.hidden_size)
        code = jnp.stack([jnp.sin(angles), jnp.cos(angles)], -1).reshape(len(places), -1)[:, :self.hidden_size]
        return self.embedding(ids) * self.hidden_size ** 0.5 + code.astype(self.dtype)

    def _scores(self, x: jax.Array) -> jax.Array:
        logits = self.logits(self.norm(x))
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
