"""What tests of the pipeline do with its batches."""

import itertools
from typing import Any

import numpy as np

from vmmjax.pipeline.pipeline import Pipeline

Batch = dict[str, np.ndarray]


def take(pipeline: Pipeline, count: int, **options: Any) -> list[Batch]:
    """The first batches; `options` are those of `Pipeline.batches`."""
    return list(itertools.islice(pipeline.batches(**options), count))


def assert_equal(one: Batch, other: Batch) -> None:
    """The same keys in the same order, with the same values."""
    assert list(one) == list(other)
    for key in one:
        np.testing.assert_array_equal(one[key], other[key], err_msg=key)
