"""What writes a text from fused tokens: layers over them, a CTC head, a decoder, or both."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models import recurrent
from vmmjax.models.decoders import ctc
from vmmjax.models.decoders.search import Scorer
from vmmjax.models.decoders.vocabulary import PAD_ID
from vmmjax.models.tokens import Tokens


class Context(nn.Module):
    """Recurrent layers over tokens in both directions, so that each knows what is before and behind it.

    Attributes:
      cell: a key of `recurrent.CELLS`.
      hidden_size: of each direction; tokens have twice as many numbers.
      num_layers: layers.
      dropout: rate on what enters each layer.
      dtype: computations.
      param_dtype: parameters.
    """

    cell: str = 'gru'
    hidden_size: int = 128
    num_layers: int = 2
    dropout: float = 0.2
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Tokens, train: bool) -> Tokens:
        """(B, N, D) -> (B, N, 2 hidden_size)."""
        tokens = tokens.clean()
        x, _ = recurrent.layers(tokens.x, tokens.mask, train, cell=self.cell, hidden_size=self.hidden_size,
                                num_layers=self.num_layers, bidirectional=True, dropout=self.dropout,
                                dtype=self.dtype, param_dtype=self.param_dtype)
        return Tokens(x, tokens.mask)


class Written(NamedTuple):
    """What is said of a text.

    Attributes:
      memory: the tokens that were read.
      ctc: logits float32 (B, N, V) of every token of the memory, the end left out; None without a CTC head.
      decoder: logits float32 (B, L + 1, V) of every token of the text and of its end, padding left out; None without
        a decoder or a text.
    """

    memory: Tokens
    ctc: jax.Array | None
    decoder: jax.Array | None


class Writer(nn.Module):
    """A CTC head and a decoder, one of them or both, on the same memory.

    Attributes:
      vocabulary: V.
      context: layers over the fused tokens; None for the tokens as they are.
      decoder: see `decoders`; None for CTC alone.
      with_ctc: whether there is a CTC head.
      dtype: of the CTC head's product; logits are float32 at least.
    """

    vocabulary: int
    context: nn.Module | None = None
    decoder: nn.Module | None = None
    with_ctc: bool = True
    dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, tokens: Tokens, ids: jax.Array | None, train: bool) -> Written:
        """Reads fused tokens (B, N, D); `ids` int32 (B, L) is the text, `PAD_ID` behind its end, or None."""
        memory = tokens.clean() if self.context is None else self.context(tokens, train)
        head = said = None
        if self.with_ctc:
            logits = nn.Dense(self.vocabulary, dtype=self.dtype, name='ctc')(memory.clean().x)
            head = ctc.without_end(logits.astype(jnp.promote_types(logits.dtype, jnp.float32)))
        if self.decoder is not None and ids is not None:
            said = without_padding(self.decoder(jnp.pad(ids, ((0, 0), (1, 0)), constant_values=PAD_ID), memory, train))
        return Written(memory, head, said)

    @nn.nowrap
    def scorer(self, params: Any, written: Written, weight: float, length: int) -> Scorer:
        """What is searched for texts of up to so many tokens.

        Args:
          params: the writer's.
          written: what `__call__` gave for the rows.
          weight: of CTC's log-probabilities, 0 to 1; the decoder's have the rest.
          length: L.
        """
        found = []
        if written.ctc is not None and weight > 0:
            found.append((weight, ctc.scorer(written.ctc, written.memory.mask)))
        if self.decoder is not None and weight < 1:
            found.append((1 - weight, _of_decoder(self.decoder, params['decoder'], written.memory, length)))
        return joint(*found)


def without_padding(logits: jax.Array) -> jax.Array:
    """Logits (B, ..., V) of a decoder; padding, which is no token, gets no probability."""
    return jnp.where(jnp.arange(logits.shape[-1]) == PAD_ID, jnp.finfo(logits.dtype).min, logits)


def joint(*parts: tuple[float, Scorer]) -> Scorer:
    """The weighted sum of log-probabilities (Hori et al. 2017, equation 11); of one part that part's."""
    if len(parts) == 1:
        return parts[0][1]

    def step(ids: jax.Array, place: jax.Array, fixed: Any, state: Any) -> tuple[jax.Array, Any]:
        stepped = [each.step(ids, place, *given) for (_, each), *given in zip(parts, fixed, state, strict=True)]
        total = sum(weight * scores for (weight, _), (scores, _) in zip(parts, stepped, strict=True))
        return jnp.asarray(total), [after for _, after in stepped]

    return Scorer(parts[0][1].vocabulary, [each.fixed for _, each in parts], [each.state for _, each in parts], step)


def _of_decoder(decoder: Any, params: Any, memory: Tokens, length: int) -> Scorer:
    variables = {'params': params}
    fixed, state = decoder.apply(variables, memory, length + 1, method='begin')

    def step(ids: jax.Array, place: jax.Array, fixed: Any, state: Any) -> tuple[jax.Array, Any]:
        logits, state = decoder.apply(variables, ids, place, fixed, state, method='step')
        return jax.nn.log_softmax(without_padding(logits)), state

    return Scorer(decoder.vocabulary, fixed, state, step)
