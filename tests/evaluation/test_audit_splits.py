import numpy as np

from vmmjax.evaluation import audit_splits

RNG = np.random.default_rng(0)


def test_look_alikes_of_different_parts_are_found():
    hashes = RNG.integers(0, 2 ** 63, 3000, np.uint64)
    rows, part = np.arange(3000) // 3, np.array(['train', 'test'])[np.arange(1000) % 2]
    hashes[2999] = hashes[0] ^ np.uint64(0b1011)  # Rows 0 and 999, of different parts.
    hashes[1503] = hashes[3] ^ np.uint64(1)  # Rows 1 and 501, of the same.
    assert audit_splits.near_duplicates(hashes, rows, part) == [(0, 999, 3)]


def test_sources_in_several_parts_are_named():
    sources, part = np.array(['x', 'y', 'x', '', '']), np.array(['train', 'train', 'test', 'train', 'test'])
    assert audit_splits.shared(sources, part) == ['x']
