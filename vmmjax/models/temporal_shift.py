"""What lets a network of pictures see time: the temporal shift, pooling over time, non-local blocks.

Clips are (B, T, H, W, C) with `valid` (B, T); a frame that is not valid has no influence on those that are.
"""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from vmmjax.errors import UserError
from vmmjax.models.layers import BatchNorm, Conv2D, max_pool2d
from vmmjax.models.tokens import coarser

NON_LOCAL_MODES = ('embedded_gaussian', 'dot_product', 'gaussian')


class TemporalShift(nn.Module):
    """Moves some channels by a frame, so that what follows sees neighbouring frames (Lin, Gan and Han 2019).

    With `fold = C // div`: 'bi' takes the first `fold` channels from the next frame and the second from the one
    before; 'uni' takes the first `fold` from the frame before and looks at nothing to come. Where there is no such
    frame, or it is not valid, stand zeros. It has no parameters.

    A 'uni' shift streams: while the collection `stream` is mutable, it keeps the last frame's `fold` channels in
    its variable `past` (B, H, W, fold) and goes on from there with the next clip.

    Attributes:
      direction: 'bi' or 'uni'.
      div: one in so many channels moves in each direction.
    """

    direction: str
    div: int = 8

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array) -> jax.Array:
        """(B, T, H, W, C) -> the same.

        Raises:
          UserError: where the stream so far was of another shape.
        """
        fold = x.shape[-1] // self.div
        if fold == 0:
            return x
        first, second = (jnp.where(valid[:, :, None, None, None], part, 0)
                         for part in (x[..., :fold], x[..., fold:2 * fold]))
        nothing = jnp.zeros_like(first[:, :1])
        if self.direction == 'bi':
            ahead = jnp.concatenate([first[:, 1:], nothing], 1)
            behind = jnp.concatenate([nothing[..., :second.shape[-1]], second[:, :-1]], 1)
            return jnp.concatenate([ahead, behind, x[..., 2 * fold:]], -1)
        if self.is_mutable_collection('stream') and not self.is_initializing():
            past = self.variable('stream', 'past', lambda: nothing[:, 0])
            if past.value.shape != first[:, 0].shape:
                raise UserError(f'The stream was begun with {past.value.shape} in the place of {first[:, 0].shape}: '
                                f'frames have other sizes than `init_stream` was told; begin again.')
            nothing, past.value = past.value[:, None], first[:, -1]
        return jnp.concatenate([jnp.concatenate([nothing, first[:, :-1]], 1), x[..., fold:]], -1)


def temporal_pool(x: jax.Array, valid: jax.Array, form: str | None = None) -> tuple[jax.Array, jax.Array]:
    """Maximum over three neighbouring frames, every second one.

    Args:
      x: (B, T, H, W, C).
      valid: bool (B, T).
      form: of the pooling, see `layers`.

    Returns:
      (B, ceil(T / 2), H, W, C), whose frame i has seen the valid ones of 2i - 1, 2i and 2i + 1, and bool
      (B, ceil(T / 2)): whether 2i or 2i + 1 is valid. So invalid frames at the end of a clip add nothing.
    """
    batch, time, height, width, channels = x.shape
    x = jnp.where(valid[:, :, None, None, None], x, -jnp.inf).reshape(batch, time, height * width, channels)
    x = max_pool2d(x, (3, 1), (2, 1), (1, 0), form).reshape(batch, -1, height, width, channels)
    valid = coarser(valid, 2)
    return jnp.where(valid[:, :, None, None, None], x, 0), valid


class NonLocal(nn.Module):
    """Every position attends to all positions of all valid frames; added to what came in (Wang et al. 2018).

    As released with TSM: half the channels, keys and values pooled 2 x 2, scores not scaled, and a BatchNorm whose
    factor is zero at first, so that a new block changes nothing.

    Attributes:
      mode: 'embedded_gaussian', a softmax over projected positions; 'gaussian', over the positions as they are;
        'dot_product', projected, divided by the number of positions in place of a softmax.
      bias: whether the last convolution has an offset, as TSM's has and mmaction2's has not.
      norm: options of the BatchNorm.
      options: of the convolutions, `form`, `dtype` and `param_dtype`.
    """

    mode: str
    bias: bool
    norm: Any
    options: Any

    @nn.compact
    def __call__(self, x: jax.Array, valid: jax.Array, train: bool) -> jax.Array:
        """(B, T, H, W, C) -> the same.

        Raises:
          UserError: for less than two rows or columns of positions.
        """
        batch, time, height, width, channels = x.shape
        if min(height, width) < 2:
            raise UserError(f'A non-local block needs 2 x 2 positions or more, and has {height} x {width}; give '
                            f'pictures of 17 x 17 or more, or choose a network without non-local blocks.')
        inner, frames = channels // 2, x.reshape(-1, height, width, channels)

        def project(x: jax.Array, name: str, size: int, use_bias: bool = True) -> jax.Array:
            init = nn.initializers.variance_scaling(1 / 3, 'fan_in', 'uniform')
            return Conv2D(size, use_bias=use_bias, kernel_init=init, name=name, **self.options)(x)

        def pooled(x: jax.Array) -> jax.Array:
            return max_pool2d(x, (2, 2), (2, 2), form=self.options['form']).reshape(batch, -1, x.shape[-1])

        queries, keys = frames, frames
        if self.mode != 'gaussian':
            queries, keys = project(frames, 'theta', inner), project(frames, 'phi_0', inner)
        queries, keys = queries.reshape(batch, -1, queries.shape[-1]), pooled(keys)
        values = pooled(project(frames, 'g_0', inner))
        precise = jnp.promote_types(x.dtype, jnp.float32)
        scores = jnp.einsum('bqc,bkc->bqk', queries, keys, preferred_element_type=precise)
        seen = jnp.repeat(valid, keys.shape[1] // time, 1)[:, None]
        if self.mode == 'dot_product':
            weights = jnp.where(seen, scores, 0) / jnp.maximum(seen.sum(-1, keepdims=True), 1)
        else:
            # Finite, so that a row without a valid frame gets an average of its zeros rather than NaN.
            weights = nn.softmax(jnp.where(seen, scores, -1e30))
        y = jnp.einsum('bqk,bkc->bqc', weights.astype(x.dtype), values).reshape(-1, height, width, inner)
        y = project(y, 'W_0', channels, self.bias)
        y = BatchNorm(scale_init=nn.initializers.zeros, name='W_1', **self.norm)(y, valid.reshape(-1), train)
        return x + y.reshape(x.shape)
