"""VGGish: a VGG network on 0.96 s of sound at a time.

Hershey et al., "CNN Architectures for Large-Scale Audio Classification", 2017, as released with AudioSet. Modules
carry the names of the PyTorch port, torchvggish; endpoints those of the TensorFlow release.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.layers import Conv2D, max_pool2d
from vmmjax.models.tokens import Tokens

PATCH = 96
BANDS = 64
# Each convolution: its endpoint, its number in torchvggish's `features`, and the pool that follows.
CONVOLUTIONS: tuple[tuple[str, int, str | None], ...] = (
    ('conv1', 0, 'pool1'), ('conv2', 3, 'pool2'), ('conv3_1', 6, None), ('conv3_2', 8, 'pool3'),
    ('conv4_1', 11, None), ('conv4_2', 13, 'pool4'))
# Likewise each fully connected layer, in `embeddings`.
DENSE: tuple[tuple[str, int], ...] = (('fc1_1', 0), ('fc1_2', 2), ('embedding', 4))


class Postprocess(nn.Module):
    """The whitening and quantisation of AudioSet's released embeddings.

    Its variables, `pca_eigen_vectors` (D, D), one a row, and `pca_means` (D,), stand in the collection `constants`,
    which is not trained. Where a network's file lacks them they stand at the identity; the releases keep them in a
    file of their own, whose two arrays go there. Rounding is to the nearest, as in torchvggish; the TensorFlow
    release cuts off.
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(..., D) -> whole numbers 0..255 as float32 (..., D): -2..2 deviations. It has no gradient."""
        size = x.shape[-1]
        vectors = self.variable('constants', 'pca_eigen_vectors', jnp.eye, size).value
        means = self.variable('constants', 'pca_means', jnp.zeros, (size,)).value
        whitened = jnp.matmul(x.astype(jnp.float32) - means, vectors.T, precision='highest')
        return jnp.round((jnp.clip(whitened, -2, 2) + 2) * (255 / 4))


class VGGish(nn.Module):
    """VGGish up to its embedding; 72.1 M parameters, and 0.86 GMACs a patch.

    A patch of 96 frames of `log_mel(waveform, 'vggish')`, 0.96 s, gives a token; patches do not overlap, and what is
    left at the end is dropped. So a token is valid where all its frames are: sound that fills no patch has none, just
    as if the clip ended there.

    Attributes:
      last_relu: whether a ReLU follows the last layer: torchvggish has it, and AudioSet's released embeddings were
        made with it; the TensorFlow release has not.
      pca: whether tokens are whitened and quantised, see `Postprocess`; the endpoint `embedding` never is.
      widths: channels of the convolutions.
      hidden: length of the two hidden layers.
      features: length of a token.
      deviation: of the truncated normal that weights are first drawn from; None takes He's, sqrt(2 / fan-in), without
        which a narrow network on little data begins with no signal at its end, and stays there.
      form: how convolutions and pooling are written, see `layers`; None is what is fast on the platform.
      dtype: computations.
      param_dtype: parameters.
    """

    last_relu: bool = False
    pca: bool = False
    widths: Sequence[int] = (64, 128, 256, 256, 512, 512)
    hidden: int = 4096
    features: int = 128
    deviation: float | None = 0.01
    form: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> tuple[Tokens, dict[str, jax.Array]]:
        """Encodes a log-mel spectrogram.

        Args:
          x: float (B, F, 64).
          valid: bool (B, F).
          train: changes nothing; there is neither BatchNorm nor dropout.

        Returns:
          Tokens (B, F // 96, features), and every layer and pool by its published name, (B, F // 96, H, W, C) or
          (B, F // 96, C).

        Raises:
          UserError: for less than 96 frames, or another number of mel bands.
        """
        batch, frames, bands = x.shape
        count = frames // PATCH
        if count == 0 or bands != BANDS:
            raise UserError(f'VGGish takes log-mels (B, F, {BANDS}) of at least {PATCH} frames (0.96 s), and was given '
                            f"{x.shape}; make them with log_mel(waveform, 'vggish'), of longer sound.")
        init = nn.initializers.he_normal() if self.deviation is None else (
            nn.initializers.truncated_normal(self.deviation))
        options = dict(dtype=self.dtype, param_dtype=self.param_dtype, kernel_init=init)
        mask = valid[:, :count * PATCH].reshape(batch, count, PATCH).all(-1)
        x = x[:, :count * PATCH].reshape(-1, PATCH, BANDS, 1).astype(self.dtype)
        endpoints = {}
        for (name, number, pool), width in zip(CONVOLUTIONS, self.widths, strict=True):
            x = nn.relu(Conv2D(width, (3, 3), use_bias=True, form=self.form, name=f'features_{number}', **options)(x))
            endpoints[name] = x.reshape(batch, count, *x.shape[1:])
            if pool:
                x = max_pool2d(x, (2, 2), (2, 2), form=self.form)
                endpoints[pool] = x.reshape(batch, count, *x.shape[1:])
        x = x.reshape(batch, count, -1)
        for (name, number), width in zip(DENSE, (self.hidden, self.hidden, self.features), strict=True):
            x = nn.Dense(width, name=f'embeddings_{number}', **options)(x)
            x = endpoints[name] = nn.relu(x) if self.last_relu or name != 'embedding' else x
        if self.pca:
            x = Postprocess(name='pproc')(x).astype(self.dtype)
        return Tokens(x, mask), endpoints
