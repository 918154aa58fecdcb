import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.data.cuts import TAILS, Cut, reflect
from vmmjax.errors import UserError


@given(duration=st.floats(0.01, 60), window=st.floats(0.1, 20), stride=st.floats(0.05, 30), tail=st.sampled_from(TAILS))
def test_windows_cover_a_clip_as_far_as_the_tail_says(duration, window, stride, tail):
    cut = Cut(window, stride, tail)
    starts = cut.starts(duration)
    ends = cut.ends(starts, duration)
    np.testing.assert_allclose(starts, stride * np.arange(len(starts)))
    assert (starts < max(duration, stride)).all()
    assert (ends <= duration).all()
    whole = starts + window <= duration + 0.021
    if tail == 'drop':
        assert whole.all()
        assert len(starts) == 0 or starts[-1] + stride + window > duration - 0.021
    else:
        assert len(starts)
        assert whole[:-1].all()
        # The next one would add nothing, or begin after the end.
        assert max(starts[-1] + stride, starts[-1] + window) > duration - 0.021


def test_a_window_of_no_length_is_the_whole_clip():
    cut = Cut(0)
    assert cut.starts(7.5).tolist() == [0]
    assert cut.ends(np.zeros(2), np.array([7.5, 3.0])).tolist() == [7.5, 3]


def test_the_stride_is_the_window_unless_given():
    assert Cut(2.0).starts(6.0).tolist() == [0, 2, 4]
    assert Cut(2.0).starts(6.5).tolist() == [0, 2, 4, 6]
    assert Cut(2.0, tail='drop').starts(6.5).tolist() == [0, 2, 4]
    assert Cut(2.0, 1.5).starts(5.0).tolist() == [0, 1.5, 3]


@given(frames=st.integers(1, 12), count=st.integers(1, 12))
def test_what_is_missing_is_a_reflection_of_what_is_there(frames, count):
    count = min(count, frames)
    x = np.where(np.arange(frames) < count, np.arange(frames) + 1, -1)
    found, valid = reflect(x, np.arange(frames) < count)
    assert valid.all()
    np.testing.assert_array_equal(found, np.pad(x[:count], (0, frames - count), mode='reflect'))


def test_nothing_can_be_reflected_where_there_is_nothing():
    _, valid = reflect(np.zeros(3), np.zeros(3, bool))
    assert not valid.any()


def test_a_cut_that_is_none_is_refused():
    with pytest.raises(UserError, match="no tail 'mirror'"):
        Cut(1.0, tail='mirror')
    with pytest.raises(UserError, match='seconds above 0'):
        Cut(1.0, -1.0)
