"""Signal work on the device, in JAX only."""

from vmmjax.ops.preprocess import PREPROCESS, preprocess

__all__ = ['PREPROCESS', 'preprocess']
