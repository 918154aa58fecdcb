"""Streams that scale each other, feature by feature."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.fusion.base import Fusion, counted, single
from vmmjax.models.fusion.concat_sum import project
from vmmjax.models.tokens import Fused, Tokens


class Gated(Fusion):
    """Gated multimodal unit (Arevalo et al., "Gated multimodal units for information fusion", 2017).

    `sum_m p_m z_m * tanh(W_m h_m)` with gates `z_m = sigmoid(U_m [h_1; h_2; ...])`. Of two streams there is one gate,
    `z_1 = sigmoid(U [h_1; h_2])` and `z_2 = 1 - z_1`, as in the paper. An absent stream adds nothing, and the gates
    of the others see what stands in its place.

    Attributes:
      features: the length of the result.
      absent: what stands for h_m in the gates where the stream is absent, see `Fusion.default`.
    """

    features: int = 256
    absent: str = 'learned'

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """Fuses tokens (B, N, D_m) of each stream; `present` (B,) bool says in which rows a stream is there."""
        def dense(name: str, x: jax.Array) -> jax.Array:
            return nn.Dense(self.features, use_bias=False, dtype=self.dtype, name=name)(x)

        there = self.there(present)
        vectors = self.vectors(tokens, present, self.absent)
        every = jnp.concatenate(vectors, -1)
        if len(self.streams) == 2:
            first = nn.sigmoid(dense('gate', every))
            gates = [first, 1 - first]
        else:
            gates = [nn.sigmoid(dense(f'gate_{name}', every)) for name in self.streams]
        parts = [gate * nn.tanh(dense(f'project_{name}', vector))
                 for name, gate, vector in zip(self.streams, gates, vectors, strict=True)]
        return single((jnp.stack(parts, 1) * there[..., None]).sum(1), there.any(-1))


class FiLM(Fusion):
    """Mixture of streams that modulate each other linearly (FiLM: Perez et al. 2018).

    `sum_m p_m ((1 + g_m) * (W_m h_m + b_m) + s_m) / sum_m p_m`, where the others condition stream m:
    `[g_m; s_m] = sum_{k != m} p_k (V_mk h_k + c_mk)`. An absent stream modulates nothing and is left out of the mean,
    so that a stream alone is its projection. To modulate every token and average after it would be the same.

    Attributes:
      features: the common length.
    """

    features: int = 256

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """See `Gated`."""
        there = self.there(present)
        projected = project(self, tokens, self.features)
        modulated = []
        for i, name in enumerate(self.streams):
            condition = jnp.zeros((projected.shape[0], 2 * self.features), self.dtype)
            for other in self.streams:
                if other != name:
                    dense = nn.Dense(2 * self.features, dtype=self.dtype, name=f'{name}_given_{other}')
                    condition += dense(tokens[other].mean()) * present[other][:, None]
            scale, shift = jnp.split(condition, 2, -1)
            modulated.append((1 + scale) * projected[:, i] + shift)
        counts = counted(there).astype(self.dtype)[..., None]
        return single((jnp.stack(modulated, 1) * counts).sum(1) / counts.sum(1), there.any(-1))
