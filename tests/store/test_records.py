import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.prepare.records import serialize
from vmmjax.store import records


@given(st.lists(st.binary(max_size=400), max_size=30), st.integers(0, 2**40), st.integers(0, 300))
def test_pictures_come_back_as_they_were_written(frames: list[bytes], row: int, chunk: int) -> None:
    assert [bytes(frame) for frame in records.pictures(serialize(frames, row, chunk))] == frames


@given(frames=st.integers(0, 50), shape=st.sampled_from([(), (1,), (64,), (2, 3)]), row=st.integers(0, 2**40))
def test_numbers_come_back_as_they_were_written(frames: int, shape: tuple[int, ...], row: int) -> None:
    values = np.random.default_rng(row).standard_normal((frames, *shape)).astype(np.float32)
    found = records.numbers(serialize(values, row, 0), shape)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, values)


def test_bytes_that_are_no_record_are_refused() -> None:
    whole = serialize([b'picture'], 1, 2)
    for damaged in (b'\x08\x01', whole[:-3], b''):
        with pytest.raises(ValueError, match='it '):
            records.pictures(damaged)
