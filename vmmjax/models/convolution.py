"""Convolution in space, and in space and time.

Arrays are channels last: (B, H, W, C), (B, T, H, W, C). A form says how the same sums are written: 'native' with
XLA's own operations, 'stacked' with matrix products and 2-D convolutions, cut so that they keep a CPU busy, and with a
product a tap where each channel is convolved by itself; 'folded', of TPUs, as 'native', but for strides over pixels in
space and time, see `_folded`. None takes the platform's. Values agree to rounding.
"""

import contextlib
import contextvars
import functools
import itertools
import math
from collections.abc import Iterator, Sequence

import jax
import jax.numpy as jnp
from jax import lax

from vmmjax.errors import UserError, did_you_mean

Shape2 = tuple[int, int]
Shape3 = tuple[int, int, int]
Edges = tuple[Shape2, Shape2]
FORMS = ('native', 'stacked', 'folded')
# Where what is traced will run, if not where JAX computes by default.
_PLATFORM: contextvars.ContextVar[str | None] = contextvars.ContextVar('platform', default=None)
# Elements of a band's gradient when the weights' gradient is computed: 2 MB.
BAND = 2 ** 19
# Channels that pixels have at most, of pictures and of motion.
PIXEL = 4


def resolve_form(form: str | None) -> str:
    """The form to use: the one named, or for None the one that is fast where JAX computes, see `on_platform`.

    Raises:
      UserError: for an unknown form.
    """
    if form is None:
        return {'cpu': 'stacked', 'tpu': 'folded'}.get(_PLATFORM.get() or jax.default_backend(), 'native')
    if form not in FORMS:
        raise UserError(f'There is no form {form!r} of a convolution: {did_you_mean(form, FORMS)}.')
    return form


@contextlib.contextmanager
def on_platform(name: str) -> Iterator[None]:
    """What is traced within is for that platform, such as `tpu`: it is compiled here and runs elsewhere."""
    token = _PLATFORM.set(name)
    try:
        yield
    finally:
        _PLATFORM.reset(token)


def same_padding(size: int, window: int, stride: int) -> tuple[int, int]:
    """TensorFlow's SAME: ceil(size / stride) outputs, the odd element of padding at the end."""
    total = max((-(-size // stride) - 1) * stride + window - size, 0)
    return total // 2, total - total // 2


def conv2d(x: jax.Array, kernel: jax.Array, strides: Shape2 = (1, 1), padding: Shape2 = (0, 0), groups: int = 1,
           form: str | None = None) -> jax.Array:
    """Convolution with as much padding on one side as on the other, as PyTorch has it.

    Args:
      x: (B, H, W, C).
      kernel: (kh, kw, C / groups, O).
      strides: in height, width.
      padding: zeros on each side, in height, width.
      groups: of channels that do not see each other.
      form: see the module.

    Returns:
      (B, floor((H + 2 ph - kh) / sh) + 1, floor((W + 2 pw - kw) / sw) + 1, O).
    """
    edges = ((padding[0], padding[0]), (padding[1], padding[1]))
    if resolve_form(form) == 'stacked' and groups == x.shape[-1] == kernel.shape[-1]:
        return _channelwise(x, kernel, strides, edges)
    if resolve_form(form) != 'stacked' or groups > 1:
        return _native(x, kernel, strides, edges, groups)
    if kernel.shape[:2] == (1, 1) and padding == (0, 0):
        return _product(x[:, ::strides[0], ::strides[1]], kernel[0, 0])
    return _banded(x, kernel, strides, edges)


def conv3d(x: jax.Array, kernel: jax.Array, strides: Shape3 = (1, 1, 1), form: str | None = None) -> jax.Array:
    """SAME convolution.

    Args:
      x: (B, T, H, W, C).
      kernel: (kt, kh, kw, C, O).
      strides: in time, height, width.
      form: see the module.

    Returns:
      (B, ceil(T / st), ceil(H / sh), ceil(W / sw), O).
    """
    if (form := resolve_form(form)) != 'stacked':
        edges = [same_padding(*each) for each in zip(x.shape[1:4], kernel.shape[:3], strides, strict=True)]
        if form == 'folded' and max(strides) > 1 and x.shape[-1] <= PIXEL:
            x, kernel, edges = _folded(x, kernel, strides, edges)
            strides = (1, 1, 1)
        return lax.conv_general_dilated(x, kernel, strides, edges, dimension_numbers=('NDHWC', 'DHWIO', 'NDHWC'))
    if kernel.shape[:3] == (1, 1, 1) and strides == (1, 1, 1):
        return _product(x, kernel[0, 0, 0])
    (batch, size), (taps, stride) = x.shape[:2], (kernel.shape[0], strides[0])
    length = -(-size // stride)
    # A few output channels leave most of a vector unit idle, so that neighbouring output steps are computed
    # together where there are few: a group reaches over more frames than a kernel, with zeros between.
    group = max(g for g in range(1, length + 1) if length % g == 0 and (g == 1 or g * kernel.shape[-1] <= 32))
    count, hop, reach = length // group, group * stride, taps + (group - 1) * stride
    before, _ = same_padding(size, taps, stride)
    # Frames that are padding for every group are left out: for a single frame, all but the middle tap.
    first, last = max(0, before - (count - 1) * hop), min(reach, size + before)
    padded = jnp.pad(x, ((0, 0), (before, reach), (0, 0), (0, 0), (0, 0)))
    frames = [padded[:, frame:frame + (count - 1) * hop + 1:hop] for frame in range(first, last)]
    stacked = jnp.concatenate(frames, -1).reshape(batch * count, *x.shape[2:4], -1)
    spread = jnp.concatenate([jnp.pad(kernel, ((step * stride, reach - taps - step * stride), *[(0, 0)] * 4))
                              for step in range(group)], -1)[first:last]
    flat = jnp.moveaxis(spread, 0, 2).reshape(*kernel.shape[1:3], -1, group * kernel.shape[-1])
    height, width = (same_padding(*each) for each in zip(x.shape[2:4], kernel.shape[1:3], strides[1:], strict=True))
    y = _banded(stacked, flat, strides[1:], (height, width))
    y = jnp.moveaxis(y.reshape(batch, count, *y.shape[1:3], group, -1), 4, 2)
    return y.reshape(batch, length, *y.shape[3:])


def _folded(x: jax.Array, kernel: jax.Array, strides: Shape3,
            edges: Sequence[Shape2]) -> tuple[jax.Array, jax.Array, list[Shape2]]:
    """A convolution with strides as one without, of blocks of pixels whose channels stand behind each other.

    A TPU has arrays in tiles of 8 x 128. It lays out pixels of three channels with the batch in the place of the 128,
    so that eight clips take up the memory of 128.

    Args:
      x: (B, T, H, W, C).
      kernel: (kt, kh, kw, C, O).
      strides: in time, height, width, which are the size of a block.
      edges: zeros before and after, in time, height, width.

    Returns:
      x (B, ceil(T / st), ceil(H / sh), ceil(W / sw), st sh sw C), the kernel for it and its edges.
    """
    ends, taps, outer = [], [], []
    for size, window, stride, (before, after) in zip(x.shape[1:4], kernel.shape, strides, edges, strict=False):
        front = -before % stride  # An output's first pixel is to be the first of a block.
        reach, first = -(-(front + window) // stride), (before + front) // stride
        outputs = (before + size + after - window) // stride + 1
        ends.append((0, -size % stride))
        taps.append((front, reach * stride - front - window))
        outer.append((first, outputs - 1 + reach - first - -(-size // stride)))
    x, kernel = jnp.pad(x, ((0, 0), *ends, (0, 0))), jnp.pad(kernel, (*taps, (0, 0), (0, 0)))
    # Cut out and joined: of a transposition the compiler makes copies in the very layout that is to be avoided.
    parts = [tuple(slice(start, None, stride) for start, stride in zip(place, strides, strict=True))
             for place in itertools.product(*map(range, strides))]
    return (jnp.concatenate([x[:, *part] for part in parts], -1),
            jnp.concatenate([kernel[part] for part in parts], -2), outer)


@jax.custom_vjp
def _product(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """The product of x (..., C) and a kernel (C, O)."""
    return x @ kernel


def _product_backward(kept: tuple[jax.Array, jax.Array], dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    # The compiler transposes the left factor, so it is to be the smaller one, and not computed on the way.
    dy = lax.optimization_barrier(dy)
    rows, gradient = x.reshape(-1, x.shape[-1]), dy.reshape(-1, dy.shape[-1])
    wide = kernel.shape[0] > kernel.shape[1]
    return dy @ kernel.T, (gradient.T @ rows).T if wide else rows.T @ gradient


_product.defvjp(lambda x, kernel: (x @ kernel, (x, kernel)), _product_backward)


def _native(x: jax.Array, kernel: jax.Array, strides: Shape2, edges: Edges, groups: int = 1) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, strides, edges, dimension_numbers=('NHWC', 'HWIO', 'NHWC'),
                                    feature_group_count=groups)


def _channelwise(x: jax.Array, kernel: jax.Array, strides: Shape2, edges: Edges) -> jax.Array:
    """`_native` of a group a channel, as a product a tap: XLA's own takes 8 to 30 times as long on a CPU."""
    padded = jnp.pad(x, ((0, 0), *edges, (0, 0))).astype(jnp.promote_types(x.dtype, jnp.float32))
    (high, wide), (down, along) = kernel.shape[:2], strides
    height, width = (padded.shape[1] - high) // down * down + 1, (padded.shape[2] - wide) // along * along + 1
    taps = [padded[:, top:top + height:down, left:left + width:along] * kernel[top, left, 0]
            for top in range(high) for left in range(wide)]
    return functools.reduce(jnp.add, taps).astype(x.dtype)


def _bands(x: jax.Array, count: int, rows: int, size: int, stride: int, edge: Shape2) -> list[jax.Array]:
    """Cuts x (B, H, W, C) into bands, each of the input rows that `rows` rows of the output are computed from."""
    missing = (count * rows - 1) * stride + size - edge[0] - x.shape[1]
    x = jnp.pad(x, ((0, 0), (edge[0], max(missing, 0)), (0, 0), (0, 0)))
    return [x[:, top:top + (rows - 1) * stride + size] for top in range(0, count * rows * stride, rows * stride)]


def _forward(x: jax.Array, kernel: jax.Array, strides: Shape2, edges: Edges) -> jax.Array:
    """`_native`, for narrow pictures computed as of fewer, longer rows where that is faster.

    XLA's convolution shares its work among threads in blocks of 64 output channels and about 64 columns, so that one
    or three blocks keep the second of two threads waiting. Bands of the picture, side by side with their padding,
    make two columns of blocks. Only rows are cut: a batch on several devices stays there.
    """
    (high, wide), blocks = kernel.shape[:2], -(-kernel.shape[3] // 64)
    height, width = x.shape[1] + sum(edges[0]) - high + 1, x.shape[2] + sum(edges[1]) - wide + 1
    count = round(128 / (width + wide - 1))
    alike = strides == (1, 1) and min(*edges[0], *edges[1]) >= 0
    if not alike or blocks not in (1, 3) or not 2 <= count <= 4 <= height / count:
        return _native(x, kernel, strides, edges)
    rows = -(-height // count)
    padded = jnp.pad(x, ((0, 0), (0, 0), edges[1], (0, 0)))
    beside = jnp.concatenate(_bands(padded, count, rows, high, 1, edges[0]), 2)
    y = _native(beside, kernel, strides, ((0, 0), (0, wide - 1))).reshape(x.shape[0], rows, count, padded.shape[2], -1)
    return y[:, :, :, :width].swapaxes(1, 2).reshape(x.shape[0], count * rows, width, -1)[:, :height]


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _banded(x: jax.Array, kernel: jax.Array, strides: Shape2, edges: Edges) -> jax.Array:
    """Convolution of x (B, H, W, C) with zeros `edges` around it and a kernel (kh, kw, C, O)."""
    return _forward(x, kernel, strides, edges)


def _weight_gradient(x: jax.Array, kernel: jax.Array, dy: jax.Array, strides: Shape2, edges: Edges) -> jax.Array:
    """The gradient of `_banded`'s kernel: the sum over bands of rows, of which each fits into a cache."""
    # A batch is spread over the devices, so that each has this share of it; more bands would be more to exchange.
    count = min(8, dy.shape[1], math.ceil(dy.size / jax.device_count() / BAND))
    rows = -(-dy.shape[1] // count)
    dy = jnp.pad(dy, ((0, 0), (0, count * rows - dy.shape[1]), (0, 0), (0, 0)))

    def gradient(band: jax.Array, part: jax.Array) -> jax.Array:
        return jax.vjp(lambda kernel: _native(band, kernel, strides, ((0, 0), edges[1])), kernel)[1](part)[0]

    bands = _bands(x, count, rows, kernel.shape[0], strides[0], edges[0])
    return functools.reduce(jnp.add, map(gradient, bands, jnp.split(dy, count, 1)))


def _banded_backward(strides: Shape2, edges: Edges, kept: tuple[jax.Array, jax.Array],
                     dy: jax.Array) -> tuple[jax.Array, jax.Array]:
    x, kernel = kept
    if strides == (1, 1):
        (top, bottom), (left, right) = edges
        height, width = kernel.shape[0] - 1, kernel.shape[1] - 1
        dx = _forward(dy, kernel[::-1, ::-1].swapaxes(2, 3), strides,
                      ((height - top, height - bottom), (width - left, width - right)))
    else:
        dx, = jax.vjp(lambda x: _native(x, kernel, strides, edges), x)[1](dy)
    return dx, _weight_gradient(x, kernel, dy, strides, edges)


_banded.defvjp(lambda x, kernel, strides, edges: (_forward(x, kernel, strides, edges), (x, kernel)), _banded_backward)
