"""Keeps the device fed: batches are on their way while the step before them computes."""

import collections
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from vmmjax.training.sharding import put


def to_device(batches: Iterator[Mapping[str, Any]], sharding: jax.sharding.NamedSharding,
              depth: int = 2) -> Iterator[dict[str, jax.Array]]:
    """Yields the batches as global arrays, `depth` of them transferred ahead (transfers are asynchronous).

    Raises:
      RuntimeError: where the batches end.
    """
    moved = (put(batch, sharding) for batch in batches)
    queue = collections.deque(itertools.islice(moved, depth))
    while queue:
        yield queue.popleft()
        queue.extend(itertools.islice(moved, 1))
    raise RuntimeError('The input ended; training needs one without an end.')
