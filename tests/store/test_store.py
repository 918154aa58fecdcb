import copy as copies
import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tensorflow_datasets as tfds

from tests import fakes
from vmmjax.errors import UserError
from vmmjax.store.store import Store, columns_at_hand


@pytest.fixture(scope='module')
def store(store_path: Path) -> Store:
    return Store(store_path)


@pytest.fixture
def copy(store_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_path, tmp_path / 'copy'))


def test_rows_are_ordered_by_split(store: Store) -> None:
    assert store.splits == {'train': range(0, 70), 'validation': range(70, 79), 'test': range(79, 84)}
    assert len(store) == 84
    assert store.rows('validation') == range(70, 79)
    # In the manifest the test split comes first.
    assert store.values('name')[79] == 'n0'
    assert store.classes('label') == sorted(fakes.LABELS)


def test_columns_hold_every_clip(store: Store) -> None:
    rgb, audio, ramp = store.columns['rgb'], store.columns['audio'], store.columns['ramp']
    assert (rgb.kind, rgb.rate, rgb.chunk) == ('picture', 10, 1)
    assert (audio.kind, audio.rate, audio.chunk, audio.shape) == ('array', 100, 100, (16,))
    durations = store.durations
    np.testing.assert_array_equal(rgb.lengths, np.round(durations * 10))
    np.testing.assert_array_equal(rgb.sizes, np.tile([24, 32], (84, 1)))
    silent = np.array([int(name[1:]) % 7 == 6 for name in store.values('name')])
    np.testing.assert_array_equal(audio.lengths == 0, silent)
    for column in (rgb, audio, ramp):
        records = np.diff(column.offsets)
        np.testing.assert_array_equal(records, np.maximum(1, -(-column.lengths // column.chunk)))


def test_columns_that_are_far_away_are_at_hand_where_they_are_read(store: Store) -> None:
    assert columns_at_hand(store, []) == store.columns
    far = copies.copy(store)
    far.name = 'gs://bucket/store'
    assert list(columns_at_hand(far, ['audio'])) == ['audio']


def test_records_are_those_of_the_rows(store: Store) -> None:
    ramp = store.columns['ramp']
    for row in (0, 69, 70, 83):
        records = ramp.records(np.arange(ramp.offsets[row], ramp.offsets[row + 1]))
        examples = [tf.train.Example.FromString(record).features.feature for record in records]
        assert [(int(e['row'].int64_list.value[0]), int(e['chunk'].int64_list.value[0])) for e in examples] == [
            (row, chunk) for chunk in range(len(records))]
        frames = np.concatenate([np.array(e['frames'].float_list.value).reshape(-1, 2) for e in examples])
        number = int(store.values('name')[row][1:])
        np.testing.assert_array_equal(frames, [(number, i) for i in range(ramp.lengths[row])])


def test_reading_from_threads(store: Store) -> None:
    ramp = store.columns['ramp']
    last = int(ramp.offsets[-1])
    expected = ramp.records(np.arange(last))

    def read(seed: int) -> bool:
        indices = np.random.default_rng(seed).integers(0, last, 40)
        return ramp.records(indices) == [expected[i] for i in indices]

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(read, range(200)))


def test_tfds_reads_every_column(store_path: Path, store: Store) -> None:
    for name, column in store.columns.items():
        builder = tfds.builder_from_directory(str(store_path / name))
        for split, rows in store.splits.items():
            source = builder.as_data_source(split)
            assert len(source) == column.offsets[rows.stop] - column.offsets[rows.start]
        example = builder.as_data_source('train')[1]
        assert example['row'] == np.searchsorted(column.offsets, 1, side='right') - 1
        if column.kind == 'array':
            assert np.asarray(example['frames']).shape[1:] == column.shape
        else:
            height, width = column.sizes[0]
            channels, doubled = (3, 1) if column.kind == 'picture' else (1, 2)
            assert np.asarray(example['frames'][0]).shape == (height, width * doubled, channels)


def test_fingerprint_is_that_of_the_rows_not_the_columns(copy: Path, store: Store) -> None:
    assert Store(copy).fingerprint == store.fingerprint
    shutil.rmtree(copy / 'rgb')
    assert Store(copy).fingerprint == store.fingerprint
    assert 'rgb' not in Store(copy).columns
    catalog = copy / 'catalog.csv'
    catalog.write_text(catalog.read_text().replace('n3', 'n4'))
    assert Store(copy).fingerprint != store.fingerprint


def test_what_is_not_there(store: Store, store_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'lable': did you mean 'label'"):
        store.values('lable')
    with pytest.raises(UserError, match=r"no column 'depth'.*vmmjax prepare .*--columns=depth"):
        store.column('depth')
    with pytest.raises(UserError, match="no split 'valid': did you mean 'validation'"):
        store.rows('valid')


def test_not_a_store(tmp_path: Path, copy: Path) -> None:
    with pytest.raises(UserError, match=r'no store\.json'):
        Store(tmp_path / 'nothing')
    meta = json.loads((copy / 'store.json').read_text())
    (copy / 'store.json').write_text(json.dumps(meta | {'format': 3}))
    with pytest.raises(UserError, match='has format 3, this vmmjax reads the formats 1 and 2'):
        Store(copy)
    (copy / 'store.json').write_text('{')
    with pytest.raises(UserError, match='damaged'):
        Store(copy)


def test_a_missing_shard_is_named(copy: Path) -> None:
    (copy / 'rgb' / 'rgb-test.array_record-00000-of-00001').unlink()
    with pytest.raises(UserError, match=r'rgb-test\.array_record-00000-of-00001 is missing'):
        Store(copy)
