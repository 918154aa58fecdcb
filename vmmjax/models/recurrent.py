"""Recurrent networks: plain (Elman 1990), LSTM (Hochreiter and Schmidhuber 1997) and GRU (Cho et al. 2014)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.dropout import Dropout
from vmmjax.models.embedding import WordEmbeddings
from vmmjax.models.tokens import Tokens

State = tuple[jax.Array, jax.Array]


def lstm(state: State, inputs: jax.Array, hidden: jax.Array) -> State:
    """One step of an LSTM; gates in PyTorch's order: input, forget, candidate, output.

    Args:
      state: hidden state and memory cell (B, H).
      inputs: what the input gives to the gates (B, 4 H), its offset included.
      hidden: what the hidden state gives to them (B, 4 H), likewise.
    """
    entry, forget, candidate, output = jnp.split(inputs + hidden, 4, -1)
    cell = nn.sigmoid(forget) * state[1] + nn.sigmoid(entry) * jnp.tanh(candidate)
    return nn.sigmoid(output) * jnp.tanh(cell), cell


def gru(state: State, inputs: jax.Array, hidden: jax.Array) -> State:
    """One step of a GRU; gates in PyTorch's order: reset, update, candidate. It has no memory cell; see `lstm`."""
    (reset, update, candidate), (hidden_reset, hidden_update, hidden_candidate) = (
        jnp.split(gates, 3, -1) for gates in (inputs, hidden))
    candidate = jnp.tanh(candidate + nn.sigmoid(reset + hidden_reset) * hidden_candidate)
    update = nn.sigmoid(update + hidden_update)
    return (1 - update) * candidate + update * state[0], state[1]


def rnn(state: State, inputs: jax.Array, hidden: jax.Array) -> State:
    """One step of a plain recurrent network. It has no gates and no memory cell; see `lstm`."""
    return jnp.tanh(inputs + hidden), state[1]


# The step, and how many numbers it takes for each of its state's.
CELLS = {'lstm': (lstm, 4), 'gru': (gru, 3), 'rnn': (rnn, 1)}


def check_cell(cell: str) -> None:
    """Raises a UserError for a cell that is not among `CELLS`."""
    if cell not in CELLS:
        raise UserError(f'There is no recurrent cell {cell!r}: {did_you_mean(cell, CELLS)}.')


class Direction(nn.Module):
    """A cell run over a sequence, forwards or backwards; what is invalid leaves its state as it is.

    Attributes:
      cell: a key of `CELLS`.
      hidden_size: H.
      reverse: whether it begins at the end.
      dtype: of the matrix products; the state is float32 at least.
      param_dtype: parameters.
    """

    cell: str
    hidden_size: int
    reverse: bool
    dtype: Any
    param_dtype: Any

    def setup(self) -> None:
        """What the input and the hidden state give to the gates, drawn as in PyTorch."""
        self.step, gates = CELLS[self.cell]
        limit = self.hidden_size ** -0.5

        def uniform(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> jax.Array:
            return jax.random.uniform(key, shape, dtype, -limit, limit)

        options = dict(kernel_init=uniform, bias_init=uniform, dtype=self.dtype, param_dtype=self.param_dtype)
        self.input = nn.Dense(gates * self.hidden_size, **options)
        self.hidden = nn.Dense(gates * self.hidden_size, **options)

    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        """(B, L, D) and bool (B, L) -> (B, L, H): the state after each word, zero where it is not valid."""
        wide = jnp.promote_types(self.dtype, jnp.float32)

        def step(module: 'Direction', state: State, word: Any) -> tuple[State, jax.Array]:
            inputs, there = word
            new = module.step(state, inputs.astype(wide), module.hidden(state[0]).astype(wide))
            new = jax.tree.map(lambda after, before: jnp.where(there[:, None], after, before), new, state)
            return new, jnp.where(there[:, None], new[0], 0)

        scan = nn.scan(step, variable_broadcast='params', split_rngs={'params': False}, in_axes=1, out_axes=1,
                       reverse=self.reverse)
        start = jnp.zeros((x.shape[0], self.hidden_size), wide)
        # The products with the inputs are one, outside of the loop.
        return scan(self, (start, start), (self.input(x), valid))[1]


def layers(x: jax.Array, valid: jax.Array, train: bool, *, cell: str, hidden_size: int, num_layers: int,
           bidirectional: bool, dropout: float, **dtypes: Any) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Layers of cells over a sequence, `layer_0_forward` and so on in the module that calls it.

    Args:
      x: (B, L, D).
      valid: bool (B, L).
      train: whether dropout is on.
      cell: see `Recurrent`, as all that follow.
      hidden_size: H.
      num_layers: layers.
      bidirectional: whether every layer also reads from the end.
      dropout: rate.
      **dtypes: `dtype` and `param_dtype`.

    Returns:
      The last layer's states (B, L, H or 2 H), and those of every layer by name.

    Raises:
      UserError: for an unknown cell.
    """
    check_cell(cell)
    endpoints = {}
    for i in range(num_layers):
        x = Dropout(dropout, deterministic=not train)(x)
        states = [Direction(cell, hidden_size, way == 'backward', name=f'layer_{i}_{way}', **dtypes)(x, valid)
                  for way in ('forward', 'backward')[:1 + bidirectional]]
        x = endpoints[f'layer_{i}'] = jnp.concatenate(states, -1).astype(dtypes['dtype'])
    return x, endpoints


class Recurrent(nn.Module):
    """Words, one after another, through layers of LSTM or GRU cells; PyTorch's `nn.LSTM` and `nn.GRU` over embeddings.

    A token is the last layer's hidden state after (in the backward direction: before) a word. Padding may be
    anywhere: no valid token knows of it. At the default sizes 9.2 M parameters are words, and an LSTM has another
    1.7 M (and as many MACs a word), a BiLSTM 3.3 M, a GRU 1.3 M.

    Attributes:
      cell: `lstm`, `gru` or `rnn`.
      bidirectional: whether every layer also reads from the end; both states are joined.
      vocab_size: words.
      embedding_size: length of a word's vector.
      hidden_size: length of a state.
      num_layers: layers.
      dropout: rate on what enters each layer.
      dtype: of the matrix products and the tokens; states are float32 at least.
      param_dtype: parameters.
    """

    cell: str = 'lstm'
    bidirectional: bool = False
    vocab_size: int = 30522
    embedding_size: int = 300
    hidden_size: int = 512
    num_layers: int = 1
    dropout: float = 0.0
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @property
    def features(self) -> int:
        """Length of a token."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a text.

        Args:
          x: int (B, L), positions in the vocabulary.
          valid: bool (B, L).
          train: whether dropout is on.

        Returns:
          Tokens (B, L, features), and the endpoints `words` (B, L, embedding_size), `layer_0` and so on.

        Raises:
          UserError: for an unknown cell, or ids outside of the vocabulary where their values are known.
        """
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        words = WordEmbeddings(self.vocab_size, self.embedding_size, name='word_embeddings', **dtypes)(x, valid)
        x, endpoints = layers(words, valid, train, cell=self.cell, hidden_size=self.hidden_size,
                              num_layers=self.num_layers, bidirectional=self.bidirectional, dropout=self.dropout,
                              **dtypes)
        return Tokens(x, valid), {'words': words, **endpoints}
