"""The write side of records: a clip's frames as `tf.train.Example`s, which `store.records` reads."""

from collections.abc import Iterator

import numpy as np
from tensorflow_datasets.proto import tf_example_pb2  # Without TensorFlow.


def chunk_frames(kind: str, rate: float) -> int:
    """Frames of a record: one picture, since samplings take single ones; about a second of anything else."""
    return max(1, round(rate)) if kind == 'array' else 1


def of_clip(frames: list[bytes] | np.ndarray, row: int, step: int) -> Iterator[bytes]:
    """Yields the records of a clip, at least one.

    Args:
      frames: encoded pictures, or float32 (T, ...).
      row: of the catalog.
      step: frames of a full record.
    """
    for chunk, begin in enumerate(range(0, max(1, len(frames)), step)):
        yield serialize(frames[begin:begin + step], row, chunk)


def serialize(frames: list[bytes] | np.ndarray, row: int, chunk: int) -> bytes:
    """One record: a `tf.train.Example`, its keys in sorted order, as `column_writer` describes it to TFDS."""
    example = tf_example_pb2.Example()
    feature = example.features.feature
    if isinstance(frames, np.ndarray):
        feature['frames'].float_list.value.extend(frames.ravel().tolist())
    else:
        feature['frames'].bytes_list.value.extend(frames)
    feature['row'].int64_list.value.append(row)
    feature['chunk'].int64_list.value.append(chunk)
    return example.SerializeToString(deterministic=True)
