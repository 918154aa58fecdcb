"""TensorFlow's checkpoints of both versions, through its own reader."""

import math
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax.errors import UserError

# How many times its files a checkpoint may be: tables are compressed by at most about twenty.
_MOST_COMPRESSED = 32


def read(prefix: Path) -> dict[str, np.ndarray]:
    """Every tensor of numbers in a checkpoint.

    Args:
      prefix: of its files, or the one file of the first version.

    Raises:
      UserError: for a damaged checkpoint, and where TensorFlow is not installed.
    """
    try:
        import tensorflow as tf
    except ImportError as error:
        raise UserError(f'{prefix} is a TensorFlow checkpoint; install what reads it: '
                        f'pip install "vmmjax[data]".') from error
    files = [prefix] if prefix.is_file() else sorted(prefix.parent.glob(f'{prefix.name}.*'))
    room = _MOST_COMPRESSED * sum(file.stat().st_size for file in files)
    try:
        reader = tf.train.load_checkpoint(str(prefix))
        shapes, dtypes = reader.get_variable_to_shape_map(), reader.get_variable_to_dtype_map()
        names = [name for name in sorted(shapes) if dtypes[name].is_floating or dtypes[name].is_integer]
        if sum(math.prod(shapes[name]) * dtypes[name].size for name in names) > room:
            raise UserError(f'{prefix} says that its tensors are many times as large as its files; it is damaged.')
        return {name: _tensor(reader, name) for name in names}
    except (tf.errors.OpError, ValueError, RuntimeError, TypeError, LookupError) as error:
        raise UserError(f'{prefix} is a TensorFlow checkpoint that is damaged or lacks a part '
                        f'({str(error).splitlines()[0][:200] if str(error) else "no reason given"}).') from error


def _tensor(reader: Any, name: str) -> np.ndarray:
    return np.asarray(reader.get_tensor(name))
