"""An encoder and a fusion of your own."""

import jax.numpy as jnp
from flax import linen as nn

from vmmjax.models import Fused, Tokens


class FrameCNN(nn.Module):
    """Two convolutions and the average over each frame: one token per frame."""

    features: int = 32  # The length of its tokens.

    @nn.compact
    def __call__(self, x, valid, train):
        """Encodes x (B, T, H, W, C); valid (B, T) is False outside the clip."""
        for stride in (4, 2):
            x = nn.relu(nn.Conv(self.features, (5, 5), stride)(x))
        return Tokens(x.mean((2, 3)), valid), {'last_convolution': x}


class MaxFusion(nn.Module):
    """The maximum over the streams that are present, of their projections."""

    width: int = 64

    @nn.compact
    def __call__(self, tokens, present, train):
        """Fuses {stream: Tokens (B, N, D)}; present is {stream: bool (B,)}."""
        projected = [nn.Dense(self.width, name=name)(each.mean()) for name, each in tokens.items()]
        there = jnp.stack([present[name] for name in tokens], 1)  # (B, streams)
        features = jnp.stack(projected, 1).max(1, initial=0, where=there[..., None])
        return Fused(Tokens(features[:, None], there.any(1, keepdims=True)), features)
