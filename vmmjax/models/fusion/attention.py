"""Streams that look at each other's tokens."""

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from vmmjax.errors import UserError, did_you_mean
from vmmjax.models.dropout import Dropout
from vmmjax.models.fusion.base import Fusion, single
from vmmjax.models.tokens import Fused, Tokens, masked_mean
from vmmjax.models.transformer import attend, heads, layer_norm, published_init

LAYER_NORM_EPS = 1e-6
# Axes of (B, N, D) along which dropout drops the same: that of the tokens.
SHARED = (1,)


def time_code(count: int, features: int) -> np.ndarray:
    """Sines and cosines of when in the clip a token is, float32 (count, features).

    As by Vaswani et al. 2017, of the time in hundredths of the clip and not of the token's number: what happens at
    once in two streams has the same code, however many tokens each makes of the clip.
    """
    time = 100 * (np.arange(count)[:, None] + 0.5) / count
    angles = time * 10000.0 ** (-np.arange(0, features, 2) / features)
    return np.stack([np.sin(angles), np.cos(angles)], -1).reshape(count, -1)[:, :features].astype(np.float32)


def kept(weights: jax.Array) -> jax.Array:
    """No dropout on the weights of attention."""
    return weights


class TokenFusion(Fusion):
    """What fusions of tokens begin and end with.

    Attributes:
      features: D, the length of a token in the fusion.
      num_hidden_layers: how many times tokens look at each other.
      num_attention_heads: heads, which share D.
      dropout: rate on what each part of a layer adds. All tokens of a row lose the same units, so that what is drawn
        does not depend on how many tokens an absent stream has.
      project: whether tokens are mapped to D features and told their time; not those of the encoder `patches`, which
        have both.
    """

    features: int = 256
    num_hidden_layers: int = 2
    num_attention_heads: int = 4
    dropout: float = 0.0
    project: bool = True

    def embed(self, tokens: Mapping[str, Tokens]) -> dict[str, Tokens]:
        """`W_m x + b_m + time_code` of every token x of every stream m, where `project`; b_m tells the streams apart.

        Raises:
          UserError: where the heads do not share D evenly, or tokens that are not mapped have another length.
        """
        heads(self.features, self.num_attention_heads, {})
        embedded = {}
        for name in self.streams:
            if not self.project:
                if (length := tokens[name].x.shape[-1]) != self.features:
                    raise UserError(f'The tokens of the stream {name!r} have {length} features and the fusion '
                                    f'{self.features}; set its features to {length}, or leave project as it is.')
                embedded[name] = tokens[name].clean()
                continue
            x = nn.Dense(self.features, dtype=self.dtype, name=f'project_{name}')(tokens[name].clean().x)
            embedded[name] = Tokens(x + time_code(x.shape[1], self.features).astype(self.dtype), tokens[name].mask)
        return embedded

    def per_stream(self, vectors: jax.Array, there: jax.Array) -> Fused:
        """One token for each stream, (B, S, D), that a head scores one by one, and their mean as features."""
        found = Tokens(vectors, there)
        return Fused(found, found.mean())


class CrossAttention(TokenFusion):
    """Cross-modal attention: the tokens of every stream look at those of all others.

    Each layer gives the tokens X_m of stream m, with N the normalisation of a token (LayerNorm, one for each stream),
    `Y_m = X_m + softmax(N(X_m) Q_m (C_m K_m)' / sqrt(D / heads)) C_m V_m O_m` where C_m are the tokens N(X_k) of all
    streams k != m one after another, and then `X_m = Y_m + MLP_m(N(Y_m))` with 4 D units and GELU. This is the
    crossmodal block of Tsai et al. 2019 (MulT) with one attention over all other streams instead of one for each.
    At the end every stream is the normalised mean of its tokens; the head scores each and averages over those present.
    An absent stream is not looked at; a stream alone has nothing to look at and goes through the perceptrons only.
    In training both sums add what `dropout` leaves (0.1 in that paper).
    """

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """Fuses tokens (B, N, D_m) of each stream; `present` (B,) bool says in which rows a stream is there.

        Raises:
          UserError: where there is one stream alone.
        """
        if len(self.streams) == 1:
            raise UserError(f'Cross-modal attention needs two streams or more, and the model has {self.streams[0]} '
                            f'alone; choose the fusion transformer.')
        streams = self.embed(tokens)
        for i in range(self.num_hidden_layers):
            normed = {name: self._norm(f'layer_{i}_{name}_attention_norm')(streams[name].x) for name in self.streams}
            updated = {}
            for name in self.streams:
                others = [other for other in self.streams if other != name]
                context = jnp.concatenate([normed[other] for other in others], 1)
                mask = jnp.concatenate([streams[other].mask for other in others], 1)
                layer = CrossLayer(self.num_attention_heads, self.dropout, self.dtype, name=f'layer_{i}_{name}')
                updated[name] = Tokens(layer(streams[name].x, normed[name], context, mask, train), streams[name].mask)
            streams = updated
        means = [self._norm(f'norm_{name}')(streams[name].mean()) for name in self.streams]
        return self.per_stream(jnp.stack(means, 1), self.there(present))

    def _norm(self, name: str) -> nn.LayerNorm:
        return layer_norm(LAYER_NORM_EPS, dtype=self.dtype, name=name)


class CrossLayer(nn.Module):
    """One layer of `CrossAttention` for one stream.

    Attributes:
      num_attention_heads: heads.
      dropout: see `TokenFusion`.
      dtype: computations.
    """

    num_attention_heads: int
    dropout: float
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array, normed: jax.Array, context: jax.Array, mask: jax.Array,
                 train: bool) -> jax.Array:
        """Tokens (B, N, D), the same normalised, the others' (B, M, D) and which of those count (B, M) -> (B, N, D)."""
        features = x.shape[-1]
        dropout = Dropout(self.dropout, SHARED, deterministic=not train)
        dense = functools.partial(nn.Dense, kernel_init=published_init, dtype=self.dtype)

        def split(name: str, y: jax.Array) -> jax.Array:
            return dense(features, use_bias=False, name=name)(y).reshape(*y.shape[:2], self.num_attention_heads, -1)

        y = attend(split('query', normed), split('key', context), split('value', context), mask, kept)
        x += dropout(dense(features, use_bias=False, name='output')(y.reshape(x.shape)))
        y = dense(4 * features, name='intermediate')(layer_norm(LAYER_NORM_EPS, dtype=self.dtype, name='norm')(x))
        return x + dropout(dense(features, name='perceptron')(nn.gelu(y, approximate=False)))


class NonLocalGate(Fusion):
    """Non-local gate of one stream by another: the mean token of `Q + softmax(Q K') V`.

    `Q = X_q W_q + b_q` of the tokens of the query stream, `K = X_k W_k` and `V = X_k W_v + b_v` of the other's (Wang,
    Tran and Feiszli 2020, after the non-local networks of Wang et al. 2018). Where the other stream is
    absent, Q is left as it is; where the query stream is absent, one token stands for it and asks in its place.

    Attributes:
      features: columns of every matrix.
      query: the stream that is gated; None for the first.
      absent: what stands for the query stream's tokens where it is absent, see `Fusion.default`.
    """

    features: int = 256
    query: str | None = None
    absent: str = 'learned'

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """See `CrossAttention`.

        Raises:
          UserError: where there are not two streams, or `query` is none of them.
        """
        query = self.two()[0] if self.query is None else self.query
        if query not in self.two():
            raise UserError(f'The fusion has query={query!r}: {did_you_mean(query, self.streams)}.')
        other, = {*self.streams} - {query}
        anything = self.there(present).any(-1)
        asking, seen = tokens[query].clean().x, tokens[other].clean().x
        # Where the query stream is absent its first token is what stands for it.
        stands = ~present[query][:, None] & (jnp.arange(asking.shape[1]) == 0)
        default = self.default(query, asking.shape[-1], self.absent)
        asking = jnp.where(stands[..., None], default.astype(asking.dtype), asking)
        dense = functools.partial(nn.Dense, self.features, dtype=self.dtype)
        # Scores are not divided by sqrt(D) as elsewhere; keys are drawn that much smaller instead.
        small = nn.initializers.variance_scaling(1 / self.features, 'fan_in', 'truncated_normal')
        q, k, v = (dense(name='query')(asking), dense(name='key', use_bias=False, kernel_init=small)(seen),
                   dense(name='value')(seen))
        y = attend(q[:, :, None] * self.features ** 0.5, k[:, :, None], v[:, :, None], tokens[other].mask, kept)
        # One token a clip: what a head draws at random for many would depend on whether the stream's key is there.
        return single(masked_mean(q + y[:, :, 0], tokens[query].mask | stands), anything)
