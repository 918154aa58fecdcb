"""What reads hidden words from the tokens of all streams."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.tokens import Tokens
from vmmjax.models.transformer import published_init


class WordReader(nn.Module):
    """A transformer over the tokens of a text and of all other streams, and a layer that names each word of the text.

    Tokens of each stream are mapped to one length, and get a learned vector for each place; pre-norm blocks follow.
    Tokens that are masked are not looked at.

    Attributes:
      vocabulary: words.
      hidden_size: length of a token.
      num_hidden_layers: blocks.
      num_attention_heads: heads of each.
    """

    vocabulary: int
    hidden_size: int = 128
    num_hidden_layers: int = 2
    num_attention_heads: int = 4

    @nn.compact
    def __call__(self, text: Tokens, others: Mapping[str, Tokens]) -> jax.Array:
        """Reads.

        Args:
          text: (B, L, D), some of its words hidden; places without a token may be read, too.
          others: of the other streams, (B, N, D') each.

        Returns:
          Logits (B, L, vocabulary), in float32 at least.
        """
        parts, masks = [], []
        for name, tokens in {'text': text, **{f'stream_{name}': others[name] for name in sorted(others)}}.items():
            x = tokens.clean().x
            x = x.astype(jnp.promote_types(x.dtype, jnp.float32))
            places = self.param(f'places_{name}', published_init, (x.shape[1], self.hidden_size))
            parts.append(nn.Dense(self.hidden_size, name=f'embed_{name}')(x) + places)
            masks.append(tokens.mask)
        x, seen = jnp.concatenate(parts, 1), jnp.concatenate(masks, 1)[:, None, None]
        for place in range(self.num_hidden_layers):
            y = nn.LayerNorm(name=f'attention_norm_{place}')(x)
            x += nn.MultiHeadDotProductAttention(self.num_attention_heads, name=f'attention_{place}')(y, mask=seen)
            y = nn.LayerNorm(name=f'perceptron_norm_{place}')(x)
            y = nn.Dense(4 * self.hidden_size, name=f'intermediate_{place}')(y)
            x += nn.Dense(self.hidden_size, name=f'output_{place}')(nn.gelu(y))
        logits: jax.Array = nn.Dense(self.vocabulary, name='words')(nn.LayerNorm(name='norm')(x[:, :text.x.shape[1]]))
        return logits
