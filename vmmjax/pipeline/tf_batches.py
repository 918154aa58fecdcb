"""Batches that are functions of a step's number, made ahead by tf.data: some at a time, handed over in order."""

import atexit
import os
import weakref
from collections.abc import Callable, Generator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from vmmjax.errors import UserError

if TYPE_CHECKING:
    import tensorflow as tf

Specs = Mapping[str, tuple[tuple[int, ...], np.dtype]]

# Two batches are made at a time, so that one is read while the other is decoded; memory is bounded by those in flight.
_PARALLEL_BATCHES = 2
_PREFETCH = 2

# TensorFlow only reads data here; its notes about CPU features help nobody.
os.environ.setdefault('TF_CPP_MIN_LOG_LEVEL', '2')
os.environ.setdefault('TF_ENABLE_ONEDNN_OPTS', '0')

# Iterators that somebody still holds when the interpreter ends are closed before: later their threads, waiting for an
# interpreter that is gone, would hold up its end for ever.
_OPEN: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for batches in list(_OPEN):
        batches.close()


def close_at_exit(batches: Generator[Any, None, None]) -> None:
    """Closes an iterator over `made` when the interpreter ends, if it is still held then."""
    _OPEN.add(batches)


def made(make: Callable[[int], Mapping[str, np.ndarray]], specs: Specs, start: int, stop: int | None
         ) -> Generator[dict[str, np.ndarray], None, None]:
    """The batches of steps in order, while the next ones are made.

    Args:
      make: the batch of a step; called from several threads.
      specs: shape and dtype of every key of a batch that is handed over.
      start: the first step.
      stop: the step behind the last; None for no end.

    Raises:
      UserError: what `make` raises, of the first step that fails.
    """
    import tensorflow as tf  # Takes seconds, which --help and a sentence about a mistake need not wait for.

    failed: dict[int, UserError] = {}

    def values_of(step: np.ndarray) -> list[np.ndarray]:
        try:
            batch = make(int(step))
        except UserError as error:
            failed[int(step)] = error
            raise
        return [batch[key] for key in specs]

    def load(step: 'tf.Tensor') -> 'dict[str, tf.Tensor]':
        # One operation makes a whole batch: its arrays are handed over without a copy.
        values = tf.numpy_function(values_of, [step], [tf.as_dtype(dtype) for _, dtype in specs.values()])
        return {key: tf.ensure_shape(value, specs[key][0]) for key, value in zip(specs, values, strict=True)}

    dataset = tf.data.Dataset.range(start, np.iinfo(np.int64).max if stop is None else stop)
    dataset = dataset.map(load, num_parallel_calls=_PARALLEL_BATCHES, deterministic=True).prefetch(_PREFETCH)
    how = tf.data.Options()
    how.deterministic = True
    how.autotune.enabled = False
    how.threading.private_threadpool_size = _PARALLEL_BATCHES
    how.threading.max_intra_op_parallelism = 1
    try:
        yield from dataset.with_options(how).as_numpy_iterator()
    except tf.errors.OpError:
        if failed:
            raise failed[min(failed)] from None
        raise
