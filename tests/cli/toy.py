"""A user's own encoder, named in a config as `tests.cli.toy:Average`: quick to compile."""

import flax.linen as nn
import jax.numpy as jnp

from vmmjax.models import Tokens


class Average(nn.Module):
    """One token a frame: its pixels in 4 x 4 cells, or its bands, through a dense layer."""

    features: int = 16
    dtype: type = jnp.float32

    @nn.compact
    def __call__(self, x, valid, train):
        if x.ndim == 5:
            x = nn.avg_pool(x.reshape(-1, *x.shape[2:]), (4, 4), (4, 4)).reshape(*x.shape[:2], -1)
        return Tokens(nn.relu(nn.Dense(self.features)(x)), valid), {}
