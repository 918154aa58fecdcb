"""Arrays of one network made to fit another that sees more frames, other channels or a grid of another size."""

import math
from typing import Any

import numpy as np
from scipy import ndimage

from vmmjax.errors import UserError, did_you_mean

CENTRE = 'centre'


def fitted(array: np.ndarray, shape: tuple[int, ...], how: Any, name: str) -> np.ndarray:
    """The array in another shape, float32.

    Args:
      array: of the network that is there.
      shape: wanted.
      how: `centre` for the kernel (1, h, w, C, D) of a picture: it becomes that of the middle of t frames among zeros
        (Arnab et al. 2021, eq. 9), and for one channel in place of C the sum over them, as if all saw the same. Or
        (t, h, w) for position vectors (1, N, D) of a square grid, tokens before it left out: they are interpolated to
        h x w and repeated t times (Arnab et al. 2021, section 3.4; Nagrani et al. 2021).
      name: of the array, for the message.

    Raises:
      UserError: where that is not possible.
    """
    if isinstance(how, str) and how != CENTRE:
        raise UserError(f'config.init_from.fit has {how!r} for {name}: {did_you_mean(how, [CENTRE])}, or a grid of '
                        f'(times, rows, columns).')
    found = _kernel(array, shape) if how == CENTRE else _positions(array, tuple(how))
    if found is None or found.shape != shape:
        raise UserError(f'{name} has shape {array.shape} there and {shape} here, and {how!r} of config.init_from.fit '
                        f'does not make the one of the other.')
    return found


def _kernel(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray | None:
    if array.ndim != 5 or len(array) != 1 or len(shape) != 5:
        return None
    kernel = array[0].sum(-2, keepdims=True) if shape[-2] == 1 else array[0]
    if kernel.shape != shape[1:]:
        return None
    found = np.zeros(shape, np.float32)
    found[shape[0] // 2] = kernel
    return found


def _positions(array: np.ndarray, grid: tuple[int, ...]) -> np.ndarray | None:
    if array.ndim != 3 or len(array) != 1 or len(grid) != 3:
        return None
    count, features = array.shape[1:]
    side = math.isqrt(count)
    times, *size = grid
    vectors = array[0, count - side**2:].astype(np.float32).reshape(side, side, features)
    vectors = ndimage.zoom(vectors, (size[0] / side, size[1] / side, 1), order=1)
    return np.tile(vectors.reshape(1, -1, features), (1, times, 1))
