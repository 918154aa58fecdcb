"""Records that are damaged after a store was made."""

import itertools
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.store.store import Store

ROW = 6


@pytest.fixture
def broken(store_path: Path, tmp_path: Path) -> tuple[Store, Path]:
    """A store, one byte of a picture of whose row 6 is another, and the shard it is in."""
    path = tmp_path / 'store'
    shutil.copytree(store_path, path)
    column = Store(path).columns['rgb']
    number = column.offsets[ROW] + 1  # Of the pictures 1, 3, 5 and 7 that the streams below take.
    record = column.records(np.array([number]))[0]
    shard = Path(column.source.place(number))
    content = bytearray(shard.read_bytes())
    content[content.index(record) + len(record) // 2] ^= 64
    shard.write_bytes(content)
    return Store(path), shard


def _pipeline(store: Store, on_damage: str, train: bool = False) -> Pipeline:
    config: dict[str, Any] = {
        'target': 'label', 'window': {'seconds': 0.8, 'start': (0.0, 0.0)},
        'streams': {'rgb': {'modality': 'rgb', 'frames': 4, 'size': 16}, 'ramp': {'modality': 'ramp'}},
        'augment': {}, 'dropout': {}, 'views': {}, 'on_damage': on_damage}
    return Pipeline(store, config, split='train', batch_size=10, train=train, seed=0)


def test_a_damaged_record_stops_with_its_shard_and_row(broken: tuple[Store, Path]) -> None:
    store, shard = broken
    batches = _pipeline(store, 'stop').batches()
    said = rf'{shard.name} is damaged: the record of row {ROW} .*--verify.*on_damage=skip'
    with pytest.raises(UserError, match=said):
        list(batches)
    later = _pipeline(store, 'stop').batches(start_step=1)
    assert len(list(later)) == 6  # The others can be read.


def test_a_damaged_record_is_skipped_and_counted(broken: tuple[Store, Path], store_path: Path,
                                                 caplog: pytest.LogCaptureFixture) -> None:
    pipeline = _pipeline(broken[0], 'skip')
    with caplog.at_level(logging.WARNING):
        found = list(pipeline.batches())
    assert pipeline.skipped == {ROW}
    assert f'row {ROW}' in caplog.text
    for batch, whole in zip(found, _pipeline(Store(store_path), 'skip').batches(), strict=True):
        for key, values in batch.items():
            damaged = whole['id'] == ROW
            np.testing.assert_array_equal(values[~damaged], whole[key][~damaged], err_msg=key)
            if key == 'row':
                np.testing.assert_array_equal(values, range(10))
            else:
                assert (values[damaged] == (-1 if key in ('id', 'target/label') else 0)).all()


def test_training_goes_on_without_it_in_every_epoch(broken: tuple[Store, Path]) -> None:
    pipeline = _pipeline(broken[0], 'skip', train=True)
    batches = list(itertools.islice(pipeline.batches(), 14))
    ids, counts = np.unique(np.concatenate([batch['id'] for batch in batches]), return_counts=True)
    np.testing.assert_array_equal(ids, [-1, *range(ROW), *range(ROW + 1, 70)])
    np.testing.assert_array_equal(counts, 2)
    assert pipeline.skipped == {ROW}


def test_what_to_do_must_be_known(store_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'skip'"):
        _pipeline(Store(store_path), 'skipp')
