"""From positions in a vocabulary to vectors."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError


class WordEmbeddings(nn.Module):
    """A learned vector a word, `embedding` (vocab_size, features).

    An id outside of the vocabulary is never taken for another word: outside of `jax.jit` it is an error, inside,
    where values cannot be looked at, its vector is NaN. What is padding may have any id.

    Attributes:
      vocab_size: words.
      features: length of a vector.
      init: initialiser.
      dtype: of the vectors.
      param_dtype: of the parameters.
    """

    vocab_size: int
    features: int
    init: Any = nn.initializers.normal(1.0)
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, ids: jax.Array, valid: jax.Array) -> jax.Array:
        """Looks words up: integers (B, L) -> (B, L, features); `valid` bool (B, L) is False for padding.

        Raises:
          UserError: for ids outside of the vocabulary, where their values are known.
        """
        known = (ids >= 0) & (ids < self.vocab_size)
        wrong = valid & ~known
        if not isinstance(wrong, jax.core.Tracer) and wrong.any():
            raise UserError(f'A text has the id {int(ids[wrong][0])}, and the vocabulary has {self.vocab_size} words; '
                            f'take the tokenizer that belongs to the network, or set vocab_size.')
        table = self.param('embedding', self.init, (self.vocab_size, self.features), self.param_dtype)
        vectors = table.at[jnp.where(known, ids, jnp.where(valid, self.vocab_size, 0))].get(
            mode='fill', fill_value=jnp.nan)
        return vectors.astype(self.dtype)
