"""Layers with a convolution, pooling in space and in time, and BatchNorm that sees only what is there.

Arrays are channels last: (B, H, W, C), (B, T, H, W, C). A form says how the same sums are written, see `convolution`;
'stacked' writes pooling as separable maxima, several times faster on the CPU, and equal bit for bit.
"""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from jax import lax

from vmmjax.errors import UserError
from vmmjax.models.convolution import Shape2, Shape3, conv2d, resolve_form, same_padding


def fan_out_init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Normal of deviation sqrt(2 / fan-out): what torchvision draws its residual networks from (He et al. 2015)."""
    return jax.random.normal(key, shape, dtype) * math.sqrt(2 / (math.prod(shape[:-2]) * shape[-1]))


def unit_init(key: jax.Array, shape: Sequence[int], dtype: Any = jnp.float32) -> jax.Array:
    """Normal of deviation 1/sqrt(fan-in), cut at two deviations: Sonnet's default, which I3D uses."""
    return jax.random.truncated_normal(key, -2, 2, shape, dtype) / math.sqrt(math.prod(shape[:-1]))


@jax.custom_jvp
def _maximum(x: jax.Array, y: jax.Array) -> jax.Array:
    return lax.max(x, y)


@_maximum.defjvp
def _maximum_jvp(primals: Any, tangents: Any) -> Any:
    # The gradient of a tie goes to the first alone, as in reduce_window; jnp.maximum would split it.
    (x, y), (dx, dy) = primals, tangents
    return lax.max(x, y), jnp.where(x >= y, dx, dy)


def max_pool3d(x: jax.Array, window: Shape3, strides: Shape3, form: str | None = None) -> jax.Array:
    """SAME max pooling of (B, T, H, W, C); padding never wins."""
    if resolve_form(form) != 'stacked':
        return nn.max_pool(x, window, strides, 'SAME')
    edges = [same_padding(*each) for each in zip(x.shape[1:4], window, strides, strict=True)]
    return _separable_max(x, window, strides, edges)


def _separable_max(x: jax.Array, window: Sequence[int], strides: Sequence[int],
                   padding: Sequence[tuple[int, int]]) -> jax.Array:
    """Max pooling of the axes after the first, one at a time."""
    # Width first, time last, so that ties go to the first element in memory, as in reduce_window.
    for axis in range(len(window), 0, -1):
        taps, stride, edge = window[axis - 1], strides[axis - 1], padding[axis - 1]
        edges = [(0, 0)] * x.ndim
        edges[axis] = edge
        padded = jnp.pad(x, edges, constant_values=-jnp.inf) if any(edge) else x
        stop = padded.shape[axis] - taps + 1
        slices = [lax.slice_in_dim(padded, tap, tap + stop, stride, axis) for tap in range(taps)]
        x = slices[0]
        for other in slices[1:]:
            x = _maximum(x, other)
    return x


def max_pool2d(x: jax.Array, window: Shape2, strides: Shape2, padding: Shape2 = (0, 0),
               form: str | None = None) -> jax.Array:
    """Max pooling of (B, H, W, C) with padding on both sides, which never wins; PyTorch's `MaxPool2d`."""
    edges = [(size, size) for size in padding]
    if resolve_form(form) != 'stacked':
        return nn.max_pool(x, window, strides, edges)
    return _separable_max(x, window, strides, edges)


class Conv2D(nn.Module):
    """`conv2d` with its weights, `kernel` (kh, kw, in / groups, out) and `bias` (out,).

    Attributes:
      features: output channels.
      size: height and width of the kernel.
      strides: in height, width.
      padding: zeros on each side, in height, width; None pads so that stride 1 keeps the size of odd kernels.
      groups: of channels that do not see each other.
      use_bias: whether there is a learned offset.
      kernel_init: initialiser of the kernel.
      form: see the module.
      dtype: computations.
      param_dtype: parameters.
    """

    features: int
    size: Shape2 = (1, 1)
    strides: Shape2 = (1, 1)
    padding: Shape2 | None = None
    groups: int = 1
    use_bias: bool = False
    kernel_init: Any = fan_out_init
    form: str | None = None
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        """(B, H, W, C) -> (B, H', W', features)."""
        shape = (*self.size, x.shape[-1] // self.groups, self.features)
        kernel = self.param('kernel', self.kernel_init, shape, self.param_dtype).astype(self.dtype)
        padding = self.padding or (self.size[0] // 2, self.size[1] // 2)
        x = conv2d(x.astype(self.dtype), kernel, self.strides, padding, self.groups, self.form)
        if self.use_bias:
            x += self.param('bias', nn.initializers.zeros, (self.features,), self.param_dtype).astype(self.dtype)
        return x


def _wide(x: jax.Array) -> jax.Array:
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _sum(x: jax.Array, weight: jax.Array | float = 1.0) -> jax.Array:
    """Sum over all axes but the last, in float32 at least, of what is weighted by (B,) or (B, N)."""
    # In two steps: the second is a hundredth of the first, which many threads share.
    partial = _wide(x).sum(tuple(range(2, x.ndim - 1)))
    if isinstance(weight, jax.Array):
        partial *= weight.reshape(weight.shape + (1,) * (partial.ndim - weight.ndim))
    return lax.optimization_barrier(partial).sum(tuple(range(partial.ndim - 1)))


@jax.custom_vjp
def _normalise(x: jax.Array, weight: jax.Array, scale: jax.Array, bias: jax.Array,
               epsilon: float) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises x (..., C) by its own statistics, float32 at least; with the mean and the variance (C,).

    `weight` (B,) or (B, N) sums to 1 over all positions, and is 0 for what does not count.
    """
    return _normalise_forward(x, weight, scale, bias, epsilon)[0]


def _normalise_forward(x: jax.Array, weight: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> Any:
    mean = _sum(x, weight)
    # From the deviations, in a second pass: the difference of squares loses digits.
    var = _sum(jnp.square(_wide(x) - mean), weight)
    factor = lax.rsqrt(var + epsilon)
    y = _wide(x) * (factor * scale) + (bias - mean * factor * scale)
    return (y, mean, var), (x, weight, scale, mean, factor)


def _normalise_backward(kept: Any, cotangents: Any) -> Any:
    x, weight, scale, mean, factor = kept
    dy = cotangents[0]
    unit = (_wide(x) - mean) * factor
    d_bias, d_scale = _sum(dy), _sum(dy * unit)
    share = weight.reshape(weight.shape + (1,) * (x.ndim - weight.ndim))
    dx = (dy - share * (d_bias + unit * d_scale)) * (factor * scale)
    return dx.astype(x.dtype), None, d_scale, d_bias, None


_normalise.defvjp(_normalise_forward, _normalise_backward)


def _normalise_groups(x: jax.Array, mask: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float,
                      groups: int) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalises each group of rows by its own statistics; with the mean and the variance (C,) of all that is valid."""
    if len(x) % groups:
        raise UserError(f'A batch of shape {x.shape} does not split into bn_groups = {groups}; set it to a divisor of '
                        f'the clips of a batch, or of a microbatch.')
    parts, masks = (array.reshape(groups, -1, *array.shape[1:]) for array in (x, mask))
    axes, places = tuple(range(1, masks.ndim)), math.prod(x.shape[mask.ndim:-1])
    # A group without anything valid counts nowhere, but what normalises it must not grow from layer to layer.
    own = masks | ~masks.any(axes, keepdims=True)
    weights = own / (own.sum(axes, dtype=scale.dtype, keepdims=True) * places)
    y, means, variances = jax.vmap(_normalise, (0, 0, None, None, None))(parts, weights, scale, bias, epsilon)
    counts = masks.sum(axes, dtype=scale.dtype)[:, None]
    shares = counts / jnp.maximum(counts.sum(), 1)
    # Not as a product, which may be of lower precision.
    mean = (shares * means).sum(0)
    return y.reshape(x.shape), mean, (shares * (variances + jnp.square(means - mean))).sum(0)


class BatchNorm(nn.Module):
    """BatchNorm whose statistics are of the valid part of a batch alone.

    Equal to `flax.linen.BatchNorm` where all is valid; under jit over a sharded batch the statistics are of the
    global batch, which takes two sums over all devices a layer. A batch with nothing valid leaves the running
    statistics as they are.

    Attributes:
      momentum: decay of the running statistics a step.
      epsilon: added to the (biased) variance.
      use_scale: whether there is a learned factor.
      use_bias: whether there is a learned offset.
      groups: equal parts of the batch, of rows that stand together, each of which is normalised by its own statistics
        (Wu et al. 2020, "A Multigrid Method for Efficiently Training Video Models", whose code calls it sub-BatchNorm).
        Where a device has one or several groups, no sum goes over devices to normalise. The running statistics stay
        those of the whole batch: means weighted by what is valid in a group, and variances within and between the
        groups (law of total variance), added up beside the network's way.
      scale_init: initialiser of the factor; zeros begin a residual block as its shortcut.
      frozen: whether it stays as it is in training too: running statistics, factor and offset without gradient.
      dtype: of the output; statistics are float32 at least.
      param_dtype: of the parameters.
    """

    momentum: float = 0.999
    epsilon: float = 1e-3
    use_scale: bool = False
    use_bias: bool = True
    groups: int = 1
    scale_init: Any = nn.initializers.ones
    frozen: bool = False
    dtype: Any = jnp.float32
    param_dtype: Any = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, mask: jax.Array, train: bool) -> jax.Array:
        """Normalises over all axes but the last.

        Args:
          x: (..., C).
          mask: bool, of x's first axis or axes: (B,), (B, T), ...; what is False does not count.
          train: with the batch's statistics, updating the running ones; else with the running ones.

        Raises:
          UserError: for a batch that does not split into the groups.
        """
        size = x.shape[-1]
        wide = jnp.result_type(self.dtype, self.param_dtype, jnp.float32)
        running_mean = self.variable('batch_stats', 'mean', jnp.zeros, (size,), wide)
        running_var = self.variable('batch_stats', 'var', jnp.ones, (size,), wide)
        scale, bias = jnp.ones(size, wide), jnp.zeros(size, wide)
        if self.use_scale:
            scale = self.param('scale', self.scale_init, (size,), self.param_dtype).astype(wide)
        if self.use_bias:
            bias = self.param('bias', nn.initializers.zeros, (size,), self.param_dtype).astype(wide)
        if train and not self.frozen:
            count = mask.sum(dtype=wide) * math.prod(x.shape[mask.ndim:-1])
            if self.groups == 1:
                y, mean, var = _normalise(x, mask / jnp.maximum(count, 1), scale, bias, self.epsilon)
            else:
                y, mean, var = _normalise_groups(x, mask, scale, bias, self.epsilon, self.groups)
            if not self.is_initializing():
                step = jnp.where(count > 0, 1 - self.momentum, 0)
                running_mean.value += step * (mean - running_mean.value)
                running_var.value += step * (var - running_var.value)
            return y.astype(self.dtype)
        if self.frozen:
            scale, bias = lax.stop_gradient((scale, bias))
        factor = lax.rsqrt(running_var.value + self.epsilon) * scale
        return (x * factor + (bias - running_mean.value * factor)).astype(self.dtype)
