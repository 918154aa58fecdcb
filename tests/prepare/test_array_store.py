import itertools
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests import fakes
from vmmjax.errors import UserError
from vmmjax.pipeline import inputs
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.prepare.array_store import ArrayStore
from vmmjax.prepare.columns import rebuilt
from vmmjax.store.catalog import read
from vmmjax.store.store import Store

BUILDERS = {'gradient': fakes.Gradient(), 'drift': fakes.Drift(), 'ramp': fakes.Ramp()}
STREAMS = {'gradient': {'modality': 'gradient', 'frames': 4, 'size': 32, 'sampling': 'segments'},
           'drift': {'modality': 'drift', 'frames': 2, 'size': 24, 'stack': 2}, 'ramp': {'modality': 'ramp'},
           'name': {'modality': 'text:name'}}
CONFIG: dict[str, Any] = {
    'window': {'seconds': 0.8, 'start': (0.0, 0.4)}, 'streams': STREAMS, 'target': 'label', 'dropout': {}, 'views': {},
    'augment': {'crop': 'random', 'flip': 0.5, 'color': 0.2}, 'on_damage': 'stop'}


@pytest.fixture(scope='module')
def store(store_path: Path) -> Store:
    return Store(store_path)


@pytest.fixture(scope='module')
def arrays(store: Store, manifest: Path) -> dict[str, dict[str, Any]]:
    """What the columns made of the clips of the store, before it was encoded."""
    catalog = read(store.path)
    splits: dict[str, dict[str, Any]] = {}
    for split, rows in store.splits.items():
        splits[split] = {name: [np.concatenate(list(column.read(manifest.parent / catalog[row].path, catalog[row])))
                                for row in rows] for name, column in BUILDERS.items()}
        splits[split] |= {name: store.values(name)[np.asarray(rows)] for name in ('label', 'name', 'id')}
    return splits


RATES = {'gradient': 10, 'drift': 10, 'ramp': 10}


@pytest.mark.parametrize('train', [True, False])
def test_batches_are_those_of_a_store_of_the_same_frames(
        store: Store, arrays: dict[str, dict[str, Any]], train: bool) -> None:
    made = ArrayStore(arrays, RATES)
    assert made.splits == store.splits
    assert made.clip(3) == store.clip(3)
    assert made.classes('label') == store.classes('label')
    for split in ('train', 'test'):
        theirs, ours = (
            list(itertools.islice(Pipeline(each, CONFIG, split=split, batch_size=8, train=train, seed=3).batches(), 4))
            for each in (store, made))
        for expected, found in zip(theirs, ours, strict=True):
            assert list(expected) == list(found)
            for key, values in expected.items():
                np.testing.assert_array_equal(values, found[key], err_msg=key, strict=True)


def test_one_array_of_all_clips_and_clips_without_a_modality() -> None:
    rng = np.random.default_rng(0)
    rgb = np.zeros((2, 10, 16, 20, 3), np.uint8) + rng.integers(0, 256, (2, 10, 1, 1, 3), np.uint8)
    waveform = [rng.standard_normal(1200).astype(np.float32), None]
    made = ArrayStore({'train': {'rgb': rgb, 'waveform': waveform, 'label': [3, None], 'score': [0.5, float('nan')]}},
                      {'rgb': 10, 'waveform': 1000})
    np.testing.assert_array_equal(made.durations, [1.2, 1.0])
    assert made.values('label').tolist() == ['3', '']
    assert made.values('score').tolist() == ['0.5', '']
    assert made.values('id').tolist() == ['train/0', 'train/1']
    np.testing.assert_array_equal(made.columns['waveform'].lengths, [1200, 0])
    np.testing.assert_array_equal(made.columns['rgb'].sizes, [[16, 20]] * 2)
    config = CONFIG | {'streams': {'rgb': {'modality': 'rgb', 'size': 16}, 'waveform': {'modality': 'waveform'}},
                       'window': {'seconds': 1.0, 'start': (0.0, 0.0)}}
    batch = next(Pipeline(made, config, split='train', batch_size=2, train=False, seed=0).batches())
    np.testing.assert_array_equal(batch['waveform'][0], waveform[0][:1000])  # type: ignore[index]
    np.testing.assert_array_equal(batch['present/waveform'], [True, False])
    np.testing.assert_array_equal(batch['target/label'], [0, -1])
    assert np.abs(batch['rgb'].astype(int) - rgb[:, :, :, 2:18]).max() <= 3  # As JPEG keeps one colour.


def test_the_fingerprint_is_that_of_the_arrays() -> None:
    x = np.zeros((2, 10, 3), np.float32)
    of = {'x': x, 'label': ['a', 'b']}
    one = ArrayStore({'train': of}, {'x': 10}).fingerprint
    assert ArrayStore({'train': {'x': list(x.copy()), 'label': np.array(['a', 'b'])}}, {'x': 10}).fingerprint == one
    for other, rate in ((of | {'x': x + 1}, 10), (of | {'label': ['a', 'c']}, 10), (of, 5)):
        assert ArrayStore({'train': other}, {'x': rate}).fingerprint != one


def test_a_run_on_arrays_is_not_taken_to_read_files() -> None:
    made = ArrayStore({'train': {'rgb': np.zeros((1, 2, 16, 16, 3), np.uint8)}}, {'rgb': 2})
    kept = inputs.describe(made, {'streams': {'rgb': {'modality': 'rgb', 'frames': 1, 'size': 8}}})
    assert kept['columns']['rgb']['options'] is None
    with pytest.raises(UserError, match=r"column 'rgb' was made from arrays"):
        rebuilt('rgb', kept['columns']['rgb'])
    with pytest.raises(UserError, match=r"store in memory has no column 'rbg': did you mean 'rgb'"):
        made.column('rbg')


RGB, SOUND = np.zeros((2, 5, 8, 8, 3), np.uint8), np.zeros((2, 50), np.float32)


@pytest.mark.parametrize(('splits', 'rates', 'said'), [
    ({}, {}, 'needs splits and rates'),
    ({'train': {'rgb': RGB, 'sound': SOUND[:1]}}, {'rgb': 5, 'sound': 10}, r"'train' have different .*rgb 2, sound 1"),
    ({'train': {'rgb': RGB[:0]}}, {'rgb': 5}, r"of the split 'train' have different .*or none \(rgb 0\)"),
    ({'train': {'rgb': RGB, 'label': ['a']}}, {'rgb': 5}, r'rgb 2, label 1'),
    ({'train': {'rgb': RGB}, 'test': {'rgb': RGB, 'label': 'ab'}}, {'rgb': 5}, r"'test' has the columns label, rgb"),
    ({'train': {'rgb': RGB, 'sound': SOUND}}, {'rgb': 5}, r"'sound' of the split 'train' has arrays, but no rate"),
    ({'train': {'rgb': RGB}}, {'rbg': 5}, r"names 'rbg', .*did you mean 'rgb'"),
    ({'train': {'rgb': RGB}}, {'rgb': 0}, r"rate of 'rgb' is 0"),
    ({'train': {'rgb': RGB.astype(float)}}, {'rgb': 5}, r"'rgb' is float64 \(5, 8, 8, 3\); give pictures as uint8"),
    ({'train': {'rgb': RGB[0]}}, {'rgb': 5}, r'is uint8 \(8, 8, 3\)'),
    ({'train': {'rgb': RGB[..., :1]}}, {'rgb': 5}, r'is uint8 \(5, 8, 8, 1\)'),
    ({'train': {'sound': SOUND[0]}}, {'sound': 5}, r'is float32 \(\)'),
    ({'train': {'x': [np.zeros((3, 4), np.float32), np.zeros((3, 5), np.float32)]}}, {'x': 5},
     r'float32 \(3, 4\) and float32 \(3, 5\)'),
    ({'train': {'x': [np.zeros((3, 4), np.float32), np.full((3, 4), np.nan, np.float32)]}}, {'x': 5},
     "Clip 1 of 'x' holds numbers that are not finite"),
    ({'train': {'x': [None, None]}}, {'x': 5}, r"No clip has 'x'"),
    ({'train': {'rgb': RGB, 'duration': [1, 2]}}, {'rgb': 5}, r"'duration' .*a name of the catalog's own")])
def test_what_does_not_fit_is_said_in_a_sentence(splits: Any, rates: Any, said: str) -> None:
    with pytest.raises(UserError, match=said):
        ArrayStore(splits, rates)


def test_no_media_package_is_needed() -> None:
    code = ('import sys\nfrom vmmjax.prepare.array_store import ArrayStore\nimport vmmjax.pipeline.pipeline\n'
            'assert not {"av", "librosa", "tensorflow", "vmmjax.media"} & set(sys.modules)')
    subprocess.run([sys.executable, '-c', code], check=True)
