"""Recurrent decoders with attention over the memory (Bahdanau, Cho and Bengio 2015)."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.dropout import Dropout
from vmmjax.models.recurrent import CELLS, State, check_cell
from vmmjax.models.tokens import Tokens


class RecurrentDecoder(nn.Module):
    """A plain recurrent network, LSTM or GRU that looks at the memory before every step.

    The state s begins as `tanh(W mean of the memory)`. At each step `e_n = v . tanh(U m_n + W s)` weighs the memory's
    tokens m_n, their mean c enters the cell beside the last token's vector, and the logits are of a layer over the new
    state, c and that vector (Bahdanau et al. 2015, appendix A.2).

    Attributes:
      vocabulary: V.
      cell: a key of `CELLS`.
      hidden_size: length of the state, of a token's vector and of the layers between.
      dropout: rate on the tokens' vectors and before the logits.
      dtype: computations; the state and the attention's weights are float32 at least.
      param_dtype: parameters.
    """

    vocabulary: int
    cell: str = 'gru'
    hidden_size: int = 256
    dropout: float = 0.1
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    def setup(self) -> None:
        """Its layers."""
        check_cell(self.cell)
        self.advance, gates = CELLS[self.cell]
        dtypes = dict(dtype=self.dtype, param_dtype=self.param_dtype)
        self.embedding = nn.Embed(self.vocabulary, self.hidden_size, **dtypes)
        self.first = nn.Dense(self.hidden_size, **dtypes)
        self.key = nn.Dense(self.hidden_size, **dtypes)
        self.query = nn.Dense(self.hidden_size, use_bias=False, **dtypes)
        self.energy = nn.Dense(1, use_bias=False, **dtypes)
        self.input = nn.Dense(gates * self.hidden_size, **dtypes)
        self.hidden = nn.Dense(gates * self.hidden_size, kernel_init=nn.initializers.orthogonal(), **dtypes)
        self.readout = nn.Dense(self.hidden_size, **dtypes)
        self.logits = nn.Dense(self.vocabulary, **dtypes)
        self.drop = Dropout(self.dropout)

    def __call__(self, ids: jax.Array, memory: Tokens, train: bool) -> jax.Array:
        """Logits float32 (B, L, V) of what follows each of the tokens int32 (B, L)."""
        fixed, state = self.begin(memory, ids.shape[1])
        words = self.drop(self.embedding(ids), deterministic=not train)

        def step(module: 'RecurrentDecoder', state: State, word: jax.Array, fixed: Any) -> tuple[State, jax.Array]:
            return module.transition(word, fixed, state)

        scan = nn.scan(step, variable_broadcast='params', variable_axes={'intermediates': 1},
                       split_rngs={'params': False}, in_axes=(1, nn.broadcast), out_axes=1)
        _, read = scan(self, state, words, fixed)
        return self.scores(self.drop(read, deterministic=not train))

    def begin(self, memory: Tokens, length: int) -> tuple[Any, State]:
        """See `decoders`."""
        memory = memory.clean()
        wide = jnp.promote_types(self.dtype, jnp.float32)
        state = jnp.tanh(self.first(memory.mean())).astype(wide)
        return (memory.x.astype(self.dtype), self.key(memory.x), memory.mask), (state, jnp.zeros_like(state))

    def step(self, ids: jax.Array, place: jax.Array, fixed: Any, state: State) -> tuple[jax.Array, State]:
        """See `decoders`."""
        state, read = self.transition(self.embedding(ids), fixed, state)
        return self.scores(read), state

    def transition(self, word: jax.Array, fixed: Any, state: State) -> tuple[State, jax.Array]:
        """The next state, and what the logits are read from (B, H), after a token's vector (B, H)."""
        tokens, keys, mask = fixed
        wide = state[0].dtype
        energies = self.energy(jnp.tanh(keys + self.query(state[0])[:, None]))[..., 0].astype(wide)
        # The smallest number, not minus infinity, whose softmax would be NaN in a row without a valid token.
        weights = nn.softmax(jnp.where(mask, energies, jnp.finfo(wide).min)) * mask
        self.sow('intermediates', 'attention', weights)
        context = jnp.einsum('bn,bnd->bd', weights.astype(tokens.dtype), tokens)
        inputs = self.input(jnp.concatenate([word, context], -1)).astype(wide)
        state = self.advance(state, inputs, self.hidden(state[0]).astype(wide))
        read = jnp.concatenate([state[0].astype(self.dtype), context, word], -1)
        return state, jnp.tanh(self.readout(read))

    def scores(self, read: jax.Array) -> jax.Array:
        """Logits, float32 at least."""
        logits = self.logits(read)
        return logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
