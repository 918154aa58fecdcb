"""Products of streams: every feature of one with every feature of the others."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models.fusion.base import Fusion, single
from vmmjax.models.fusion.concat_sum import project
from vmmjax.models.tokens import Fused, Tokens


def with_one(x: jax.Array) -> jax.Array:
    """`[1; x]` of (B, D), as (B, 1 + D)."""
    return jnp.concatenate([jnp.ones((x.shape[0], 1), x.dtype), x], -1)


class TensorFusion(Fusion):
    """Tensor fusion (Zadeh et al. 2017): the outer product of `[1; x_1]`, `[1; x_2]`, ..., flattened.

    `x_m = p_m (W_m h_m + b_m)`. An absent stream is the vector `[1; 0]`: all products with its features are zero, and
    what is left is the tensor fusion of the others.

    Attributes:
      features: length D of every x_m; the result has `(1 + D) ** streams`.
    """

    features: int = 16

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """Fuses tokens (B, N, D_m) of each stream; `present` (B,) bool says in which rows a stream is there."""
        there = self.there(present)
        projected = project(self, tokens, self.features) * there[..., None]
        product = with_one(projected[:, 0])
        for i in range(1, len(self.streams)):
            product = (product[..., None] * with_one(projected[:, i])[:, None]).reshape(product.shape[0], -1)
        return single(product, there.any(-1))


class LowRankTensorFusion(Fusion):
    """Low-rank tensor fusion (Liu et al. 2018): a linear layer on the tensor fusion, without the tensor.

    `sum_r w_r prod_m ([1; p_m h_m] F_m^r) + b`, with the product taken element by element. An absent stream is
    `[1; 0]`, as in `TensorFusion`: it multiplies by the first rows of its factors, which are learned.

    Attributes:
      features: the length of the result.
      rank: how many terms r there are.
    """

    features: int = 256
    rank: int = 4

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """See `TensorFusion`."""
        product = jnp.ones((1, self.rank, self.features), self.dtype)
        for name, vector in zip(self.streams, self.vectors(tokens, present, 'zero'), strict=True):
            x = with_one(vector)
            factor = self.param(f'factor_{name}', nn.initializers.lecun_normal(in_axis=1, out_axis=2, batch_axis=0),
                                (self.rank, x.shape[-1], self.features))
            product *= jnp.einsum('bd,rdf->brf', x, factor.astype(self.dtype))
        weights = self.param('weights', nn.initializers.constant(self.rank ** -0.5), (self.rank,))
        bias = self.param('bias', nn.initializers.zeros, (self.features,))
        fused = jnp.einsum('brf,r->bf', product, weights.astype(self.dtype)) + bias.astype(self.dtype)
        return single(fused, self.there(present).any(-1))


class Multiplicative(Fusion):
    """Multiplicative interactions of two streams (Jayakumar et al. 2020), in the general form.

    `sum_ij h_1[i] h_2[j] W[i, j] + U h_1 + V h_2 + b`, where W has D_1 x D_2 x features numbers. An absent stream that
    is zero leaves a linear layer of the other; a learned vector in its place leaves another linear layer.

    Attributes:
      features: the length of the result.
      absent: what stands for h_m where the stream is absent, see `Fusion.default`.
    """

    features: int = 64
    absent: str = 'learned'

    @nn.compact
    def __call__(self, tokens: Mapping[str, Tokens], present: Mapping[str, jax.Array], train: bool) -> Fused:
        """See `TensorFusion`.

        Raises:
          UserError: where there are not two streams.
        """
        names = self.two()
        first, second = self.vectors(tokens, present, self.absent)
        # Products of two unit normals have unit deviation, so that W is drawn for D_1 x D_2 inputs.
        kernel = self.param('kernel', nn.initializers.lecun_normal(in_axis=(0, 1), out_axis=2),
                            (first.shape[-1], second.shape[-1], self.features)).astype(self.dtype)
        bias = self.param('bias', nn.initializers.zeros, (self.features,)).astype(self.dtype)
        fused = jnp.einsum('bi,bj,ijf->bf', first, second, kernel) + bias
        for name, vector in zip(names, (first, second), strict=True):
            fused += nn.Dense(self.features, use_bias=False, dtype=self.dtype, name=f'project_{name}')(vector)
        return single(fused, self.there(present).any(-1))
