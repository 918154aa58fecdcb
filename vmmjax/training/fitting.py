"""Arrays of one network in the shapes of another: kernels of pictures for clips, position vectors of another grid."""

import math
from typing import Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean

INFLATIONS = ('centre', 'mean')


def inflated(kernel: np.ndarray, frames: int, way: str) -> np.ndarray:
    """A kernel (h, w, C, D) of pictures as one (frames, h, w, C, D) of clips.

    Args:
      kernel: any dtype; float32 is returned.
      frames: length of the kernel in time.
      way: `mean` repeats it and divides by its length, so that a film of one picture repeated gives what the picture
        gave (Carreira and Zisserman 2017, section 2.2); `centre` puts it into the middle among zeros (Arnab et al.
        2021, eq. 9).
    """
    found = np.zeros((frames, *kernel.shape), np.float32)
    found[slice(None) if way == 'mean' else frames // 2] = kernel.astype(np.float32) / (frames if way == 'mean' else 1)
    return found


def fitted(array: np.ndarray, shape: tuple[int, ...], how: Any, name: str) -> np.ndarray:
    """The array in another shape, float32.

    Args:
      array: of the network that is there.
      shape: wanted.
      how: `centre` or `mean` for the kernel (1, h, w, C, D) of a picture: it becomes that of t frames, see `inflated`,
        and for one channel in place of C the sum over them, as if all saw the same. Or (t, h, w) for position vectors
        (1, N, D) of a square grid, tokens before it left out: they are interpolated to h x w and repeated t times
        (Arnab et al. 2021, section 3.4; Nagrani et al. 2021).
      name: of the array, for the message.

    Raises:
      UserError: where that is not possible.
    """
    if isinstance(how, str) and how not in INFLATIONS:
        raise UserError(f'config.init_from.fit has {how!r} for {name}: {did_you_mean(how, INFLATIONS)}, or a grid of '
                        f'(times, rows, columns).')
    found = _kernel(array, shape, how) if isinstance(how, str) else _positions(array, tuple(how))
    if found is None or found.shape != shape:
        raise UserError(f'{name} has shape {array.shape} there and {shape} here, and {how!r} of config.init_from.fit '
                        f'does not make the one of the other.')
    return found


def _kernel(array: np.ndarray, shape: tuple[int, ...], way: str) -> np.ndarray | None:
    if array.ndim != 5 or len(array) != 1 or len(shape) != 5:
        return None
    return inflated(array[0].sum(-2, keepdims=True) if shape[-2] == 1 else array[0], shape[0], way)


def _positions(array: np.ndarray, grid: tuple[int, ...]) -> np.ndarray | None:
    from scipy import ndimage  # Slow to load, and few networks need it.

    if array.ndim != 3 or len(array) != 1 or len(grid) != 3:
        return None
    count, features = array.shape[1:]
    side = math.isqrt(count)
    times, *size = grid
    vectors = array[0, count - side**2:].astype(np.float32).reshape(side, side, features)
    vectors = ndimage.zoom(vectors, (size[0] / side, size[1] / side, 1), order=1)
    return np.tile(vectors.reshape(1, -1, features), (1, times, 1))
