"""What stands where nothing is to be seen, heard or read: the other end of a path, what an occluder shows."""

from typing import Any

import jax
import jax.numpy as jnp

_PICTURES = {'signed': 'grey', 'imagenet': "ImageNet's mean colour", 'centred': "the clip's mean picture",
             'flow': 'no motion', 'flow_tsn': 'no motion'}
"""By the way to normalise: what zero is."""


def baseline(x: jax.Array, valid: jax.Array | None = None) -> jax.Array:
    """The baseline of a normalised stream, of its shape.

    Args:
      x: pictures or motion (B, T, H, W, C) and waveforms (B, S), whose baseline is zero; spectra (B, F, M), whose
        baseline is each clip's least value, a silence as deep as the clip's deepest.
      valid: bool (B, F), frames whose values count; None for all.
    """
    if x.ndim != 3:
        return jnp.zeros_like(x)
    counted = x if valid is None else jnp.where(valid[..., None] > 0, x, jnp.inf)
    least = counted.min((1, 2), keepdims=True)
    return jnp.broadcast_to(jnp.where(jnp.isfinite(least), least, 0), x.shape).astype(x.dtype)


def named(x: Any, way: str) -> str:
    """What a stream's baseline is, in words.

    Args:
      x: the normalised stream; of texts, integers.
      way: of `vmmjax.ops.preprocess`.
    """
    if jnp.issubdtype(x.dtype, jnp.integer):
        return 'no word (a vector of zeros)'
    if x.ndim == 3:
        return "silence (the clip's least value)"
    return 'silence' if x.ndim == 2 else _PICTURES.get(way, 'zero')
