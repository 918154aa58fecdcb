import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.pipeline.windows import TAILS, SlidingWindows, WindowSpec, reflect
from vmmjax.store.store import Store


def data(store, **streams):
    config = configs.defaults().data
    config.store, config.streams = str(store.path), streams
    return config.to_dict()


@pytest.mark.parametrize('tail', TAILS)
def test_every_window_of_every_clip_of_a_store_comes_in_order(store_path, tail):
    store = Store(store_path)
    rows = np.arange(20, 32)
    windows = SlidingWindows(store, data(store, ramp=dict(modality='ramp')), rows,
                             cut=WindowSpec(1.0, 0.5, tail), batch_size=5)
    batches = list(windows.batches())
    real = np.concatenate([batch['mask'] for batch in batches]) > 0
    x, valid = (np.concatenate([batch[key] for batch in batches])[real] for key in ('ramp', 'valid/ramp'))
    expected = [(row, start) for row in rows.tolist()
                for start in WindowSpec(1.0, 0.5, tail).starts(store.durations[row])]
    assert list(zip(windows.clips.tolist(), windows.starts.tolist(), strict=True)) == expected
    assert len(x) == len(expected)
    assert np.concatenate([batch['id'] for batch in batches])[real].tolist() == windows.clips.tolist()
    for frames, inside, (row, start), end in zip(x, valid, expected, windows.ends.tolist(), strict=True):
        there = np.arange(round(10 * start), round(10 * end))
        assert inside.sum() == (10 if tail == 'reflect' else len(there))
        np.testing.assert_array_equal(frames[:len(there), 1], there)
        assert tail != 'drop' or inside.all()
        if tail == 'reflect':
            np.testing.assert_array_equal(frames[:, 1], np.pad(there, (0, 10 - len(there)), mode='reflect'))
        assert (frames[inside, 0] == frames[0, 0]).all()
        assert end <= store.durations[row]


def test_a_window_is_the_same_alone_as_among_others(store_path):
    store = Store(store_path)
    config = data(store, gradient=dict(modality='gradient', frames=4, size=32), audio=dict(modality='audio'))
    many = list(SlidingWindows(store, config, np.arange(8), cut=WindowSpec(0.6, 0.25), batch_size=8).batches())
    alone = list(SlidingWindows(store, config, np.arange(3, 4), cut=WindowSpec(0.6, 0.25), batch_size=1).batches())
    for key in ('gradient', 'audio', 'valid/gradient', 'valid/audio', 'present/audio'):
        among = np.concatenate([batch[key] for batch in many])
        here = np.concatenate([batch['id'] for batch in many]) == 3
        np.testing.assert_array_equal(among[here], np.concatenate([batch[key] for batch in alone]))


def test_what_belongs_to_training_is_left_out(store_path):
    store = Store(store_path)
    config = data(store, ramp=dict(modality='ramp'))
    other = config | {'target': 'nothing', 'views': dict(clips=3, crops=1), 'window': dict(seconds=9.0, start=(1, 2)),
                      'augment': {**config['augment'], 'flip_pairs': (('a', 'b'),)}}
    first, second = (next(SlidingWindows(store, each, np.arange(4), cut=WindowSpec(0.5), batch_size=4).batches())
                     for each in (config, other))
    np.testing.assert_array_equal(first['ramp'], second['ramp'])


@given(duration=st.floats(0.01, 60), window=st.floats(0.1, 20), stride=st.floats(0.05, 30), tail=st.sampled_from(TAILS))
def test_windows_cover_a_clip_as_far_as_the_tail_says(duration, window, stride, tail):
    cut = WindowSpec(window, stride, tail)
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
    cut = WindowSpec(0)
    assert cut.starts(7.5).tolist() == [0]
    assert cut.ends(np.zeros(2), np.array([7.5, 3.0])).tolist() == [7.5, 3]


def test_the_stride_is_the_window_unless_given():
    assert WindowSpec(2.0).starts(6.0).tolist() == [0, 2, 4]
    assert WindowSpec(2.0).starts(6.5).tolist() == [0, 2, 4, 6]
    assert WindowSpec(2.0, tail='drop').starts(6.5).tolist() == [0, 2, 4]
    assert WindowSpec(2.0, 1.5).starts(5.0).tolist() == [0, 1.5, 3]


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
        WindowSpec(1.0, tail='mirror')
    with pytest.raises(UserError, match='seconds above 0'):
        WindowSpec(1.0, -1.0)
