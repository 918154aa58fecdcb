import numpy as np
import pytest

from vmmjax import config as configs
from vmmjax.data.cuts import TAILS, Cut
from vmmjax.data.store import Store
from vmmjax.data.windows import Windows


def data(store, **streams):
    config = configs.defaults().data
    config.store, config.streams = str(store.path), streams
    return config.to_dict()


@pytest.mark.parametrize('tail', TAILS)
def test_every_window_of_every_clip_of_a_store_comes_in_order(store_path, tail):
    store = Store(store_path)
    rows = np.arange(20, 32)
    windows = Windows(store, data(store, ramp=dict(modality='ramp')), rows, cut=Cut(1.0, 0.5, tail), batch_size=5)
    batches = list(windows.batches())
    real = np.concatenate([batch['mask'] for batch in batches]) > 0
    x, valid = (np.concatenate([batch[key] for batch in batches])[real] for key in ('ramp', 'valid/ramp'))
    expected = [(row, start) for row in rows.tolist() for start in Cut(1.0, 0.5, tail).starts(store.durations[row])]
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
    many = list(Windows(store, config, np.arange(8), cut=Cut(0.6, 0.25), batch_size=8).batches())
    alone = list(Windows(store, config, np.arange(3, 4), cut=Cut(0.6, 0.25), batch_size=1).batches())
    for key in ('gradient', 'audio', 'valid/gradient', 'valid/audio', 'present/audio'):
        among = np.concatenate([batch[key] for batch in many])
        here = np.concatenate([batch['id'] for batch in many]) == 3
        np.testing.assert_array_equal(among[here], np.concatenate([batch[key] for batch in alone]))


def test_what_belongs_to_training_is_left_out(store_path):
    store = Store(store_path)
    config = data(store, ramp=dict(modality='ramp'))
    other = config | {'target': 'nothing', 'views': dict(clips=3, crops=1), 'window': dict(seconds=9.0, start=(1, 2)),
                      'augment': {**config['augment'], 'flip_pairs': (('a', 'b'),)}}
    first, second = (next(Windows(store, each, np.arange(4), cut=Cut(0.5), batch_size=4).batches())
                     for each in (config, other))
    np.testing.assert_array_equal(first['ramp'], second['ramp'])
