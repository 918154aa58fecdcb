"""From the small integers that travel to the device to the numbers a network was trained on."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp

from vmmjax.errors import UserError
from vmmjax.front_ends import FRONT_ENDS
from vmmjax.ops.log_mel import log_mel
from vmmjax.registry import find

FLOW_BOUND = 20.0
"""Largest displacement that the flow code holds, in pixels a frame."""


def signed(x: jax.Array) -> jax.Array:
    """uint8 0..255 to float32 [-1, 1]: I3D's RGB input (Carreira and Zisserman 2017, released code)."""
    _check_uint8(x)
    return x.astype(jnp.float32) / 127.5 - 1


def imagenet(x: jax.Array) -> jax.Array:
    """uint8 RGB, channels last, to float32 with ImageNet's mean and deviation removed (torchvision)."""
    _check_uint8(x)
    mean, deviation = jnp.array([0.485, 0.456, 0.406]), jnp.array([0.229, 0.224, 0.225])
    return (x.astype(jnp.float32) / 255 - mean) / deviation


def flow(x: jax.Array) -> jax.Array:
    """uint8 flow code to float32 [-1, 1], the displacement as a fraction of 20 pixels (I3D's flow input).

    The code 0..255 spans -20..20 pixels; 128, a still picture, becomes 0.0039.
    """
    _check_uint8(x)
    return (x.astype(jnp.float32) * (2 * FLOW_BOUND / 255) - FLOW_BOUND) / FLOW_BOUND


def flow_tsn(x: jax.Array) -> jax.Array:
    """uint8 flow code to float32, mean .5 and deviation .226 of the code as a fraction of 255: TSN's and TSM's flow."""
    _check_uint8(x)
    return (x.astype(jnp.float32) / 255 - 0.5) / 0.226


def centred(x: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """uint8 pictures to float32 less the clip's mean picture, a quarter of the range being 1: what moves.

    Who speaks, the light and where the head is are the same in all pictures of a clip, and a hundred times what the
    lips change: on a few hundred clips a network from scratch learns the lips with this, and nothing without it.

    Args:
      x: uint8 (B, T, H, W, C).
      valid: bool (B, T), which pictures the mean is of; None for all.
    """
    _check_uint8(x)
    share = jnp.ones(x.shape[:2]) if valid is None else valid.astype(jnp.float32)
    mean = jnp.einsum('bt...,bt->b...', x.astype(jnp.float32), share)
    mean /= jnp.maximum(share.sum(1), 1).reshape(-1, *(1,) * (x.ndim - 2))
    return (x.astype(jnp.float32) - mean[:, None]) / 64


def none(x: jax.Array) -> jax.Array:
    """To float32, values unchanged."""
    return x.astype(jnp.float32)


def ids(x: jax.Array) -> jax.Array:
    """Integers to int32: the words of a text as positions in a vocabulary."""
    if not jnp.issubdtype(x.dtype, jnp.integer):
        raise UserError(f'A text of {x.dtype} was given where positions in a vocabulary are meant; give int32.')
    return x.astype(jnp.int32)


PREPROCESS: dict[str, Callable[..., jax.Array]] = {
    'centred': centred, 'signed': signed, 'imagenet': imagenet, 'flow': flow, 'flow_tsn': flow_tsn, 'none': none,
    'ids': ids, **{name: functools.partial(log_mel, front_end=name) for name in FRONT_ENDS}}
"""Ways to preprocess; those of the front ends' names make log-mels of waveforms, with frames in place of samples."""

SEE_VALID = ('centred',)
"""Ways that take, as a second array, which frames are valid: those that are not change no others."""

LARGEST: dict[str, float] = {'centred': 4.0, 'signed': 1.0, 'imagenet': 2.7, 'flow': 1.0, 'flow_tsn': 2.3}
"""The largest magnitude that a way to preprocess can give; what is far beyond was not preprocessed."""


def _check_uint8(x: jax.Array) -> None:
    if x.dtype != jnp.uint8:
        raise UserError(f'Pictures of {x.dtype} were given to be normalised, where uint8 0..255 is meant; what is '
                        f'already normalised goes to the network as it is.')


def preprocess(name: str, x: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """Normalises one stream's array by the name of the way, or by a user's own `package.module:function`.

    Args:
      name: a key of `PREPROCESS`, or an import path.
      x: the stream as it stands in a clip batch.
      valid: bool (B, T), its valid frames, for the ways that see them; None for all.

    Returns:
      float32, of the same shape; (B, F, M) of the log-mels.

    Raises:
      UserError: for an unknown name.
    """
    function: Callable[..., jax.Array] = find(name, PREPROCESS, 'preprocess')
    return function(x, valid) if name in SEE_VALID else function(x)
