"""The flow column of `vmmjax prepare`: OpenCV's algorithms, and TV-L1 in JAX, which the data side does not know."""

import functools
import os
from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from vmmjax.media import flow
from vmmjax.prepare import columns

_TOGETHER = 64  # Pairs that an accelerator is given at a time; a CPU takes them one by one.


def tv_l1_jax(grey: np.ndarray) -> np.ndarray:
    """`vmmjax.ops.tv_l1` between neighbouring pictures, as an algorithm of `vmmjax.media.flow`.

    It runs in the processes that make the shards, so that JAX starts there and nowhere else. It always takes
    blocks of one shape: a size of pictures is compiled once.
    """
    import jax

    from vmmjax.ops.tv_l1 import tv_l1

    _prepare_jax()
    block = 1 if jax.default_backend() == 'cpu' else _TOGETHER
    motion = np.empty((max(len(grey) - 1, 0), *grey.shape[1:], 2), np.float32)
    for start in range(0, len(motion), block):
        places = np.minimum(np.arange(start, start + block), len(motion) - 1)
        part = motion[start:start + block]
        part[:] = tv_l1(grey[places], grey[places + 1])[:len(part)]
    return motion


@functools.cache
def _prepare_jax() -> None:
    from vmmjax.training.runtime import keep_compiled

    os.environ.setdefault('XLA_PYTHON_CLIENT_PREALLOCATE', 'false')  # Several processes share an accelerator.
    keep_compiled()


class Flow(columns.Flow):
    """The column with one algorithm more."""

    algorithms: ClassVar[Mapping[str, flow.Algorithm]] = {**flow.ALGORITHMS, 'tv_l1_jax': tv_l1_jax}
