"""Signal work on the device, in JAX only."""

from vmmjax.ops.log_mel import FRONT_ENDS, FrontEnd, log_mel
from vmmjax.ops.preprocess import LARGEST, PREPROCESS, preprocess

__all__ = ['FRONT_ENDS', 'LARGEST', 'PREPROCESS', 'FrontEnd', 'log_mel', 'preprocess']
