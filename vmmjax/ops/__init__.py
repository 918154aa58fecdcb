"""Signal work on the device, in JAX only."""

from vmmjax.front_ends import FRONT_ENDS, FrontEnd
from vmmjax.ops.log_mel import log_mel, valid_frames
from vmmjax.ops.preprocess import LARGEST, PREPROCESS, SEE_VALID, preprocess

__all__ = ['FRONT_ENDS', 'LARGEST', 'PREPROCESS', 'SEE_VALID', 'FrontEnd', 'log_mel', 'preprocess', 'valid_frames']
