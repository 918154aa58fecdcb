"""Signal work on the device, in JAX only."""

from vmmjax.ops.preprocess import LARGEST, PREPROCESS, preprocess

__all__ = ['LARGEST', 'PREPROCESS', 'preprocess']
