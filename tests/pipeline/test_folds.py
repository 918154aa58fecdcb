import csv
import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.pipeline.folds import folded
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.text_streams import TextConfig, TextStream
from vmmjax.store.store import Store

GROUPS, FOLDS = 28, (2, 4, 10)


def with_columns(store_path: Path, folder: Path, columns: dict[str, list[str]]) -> Store:
    """A copy of a store whose catalog has further columns."""
    shutil.copytree(store_path, folder)
    with (folder / 'catalog.csv').open(newline='') as file:
        header, *rows = csv.reader(file)
    with (folder / 'catalog.csv').open('w', newline='') as file:
        csv.writer(file, lineterminator='\n').writerows(
            [[*header, *columns], *([*row, *values] for row, *values in zip(rows, *columns.values(), strict=True))])
    return Store(folder)


def columns(clips: int) -> dict[str, list[str]]:
    groups = np.arange(clips) % GROUPS
    return {'group': [f'g{group}' if group else '' for group in groups],
            'fold': [str(FOLDS[group % len(FOLDS)]) for group in groups]}


@pytest.fixture(scope='module')
def store(store_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return with_columns(store_path, tmp_path_factory.mktemp('folds') / 'store', columns(84))


def config(fold: int | None) -> dict:
    found = configs.defaults().data.to_dict()
    found['window']['seconds'] = 1.0
    return found | {'fold': fold, 'streams': {'ramp': {'modality': 'ramp'}}}


def test_a_fold_is_tested_the_next_validates_and_the_others_train(store: Store) -> None:
    values = store.values('fold').astype(int)
    for fold, following, rest in ((2, 4, 10), (4, 10, 2), (10, 2, 4)):
        found = folded(store, fold)
        assert list(found.splits) == ['train', 'validation', 'test']
        for split, expected in (('test', fold), ('validation', following), ('train', rest)):
            np.testing.assert_array_equal(found.rows(split), np.flatnonzero(values == expected))
    # Each clip is tested once over all folds.
    tested = np.concatenate([folded(store, fold).rows('test') for fold in FOLDS])
    np.testing.assert_array_equal(np.sort(tested), np.arange(84))


def test_without_validation_all_other_folds_train(store: Store) -> None:
    values = store.values('fold').astype(int)
    for fold in FOLDS:
        found = folded(store, fold, validates=False)
        assert list(found.splits) == ['train', 'test']
        np.testing.assert_array_equal(found.rows('test'), np.flatnonzero(values == fold))
        np.testing.assert_array_equal(found.rows('train'), np.flatnonzero(values != fold))


def test_two_folds_are_enough_without_validation(store_path: Path, tmp_path: Path) -> None:
    two = with_columns(store_path, tmp_path / 'two', {'fold': ['2', '4'] * 42})
    assert len(folded(two, 4, validates=False).rows('train')) == 42
    one = with_columns(store_path, tmp_path / 'one', {'fold': ['2'] * 84})
    with pytest.raises(UserError, match='has 1 folds; to test and to train on different ones, 2 are needed'):
        folded(one, 2, validates=False)


def test_without_a_fold_nothing_changes(store: Store) -> None:
    assert folded(store, None) is store
    before = dict(store.splits)
    assert folded(store, 4).fingerprint == store.fingerprint
    assert store.splits == before


def test_no_group_is_on_two_sides(store: Store) -> None:
    groups = store.values('group')
    for fold in FOLDS:
        found = folded(store, fold)
        sides = [set(groups[found.rows(split)]) - {''} for split in found.splits]
        assert not any(a & b for a, b in itertools.combinations(sides, 2))


def test_batches_are_of_the_rows_of_the_fold(store: Store) -> None:
    found = folded(store, 4)
    test = Pipeline(found, config(4), split='test', batch_size=8, train=False, seed=0)
    batches = list(test.batches())
    ids = np.concatenate([batch['id'] for batch in batches])
    np.testing.assert_array_equal(ids[ids >= 0], found.rows('test'))
    # The column says which clip it is of; the manifest's test split, its first 5 files, comes last in the catalog.
    for batch in batches:
        for row, ramp in zip(batch['id'].tolist(), batch['ramp'], strict=True):
            assert row < 0 or ramp[0, 0] == int(store.values('name')[row][1:])
    train = Pipeline(found, config(4), split='train', batch_size=7, train=True, seed=0)
    rows = found.rows('train')
    epochs = np.concatenate([batch['id'] for batch in itertools.islice(train.batches(), 2 * len(rows) // 7)])
    seen = epochs[:len(rows)]
    np.testing.assert_array_equal(np.sort(seen), rows)
    assert train.steps == len(rows) // 7


def test_the_vocabulary_is_that_of_the_training_folds(store: Store) -> None:
    whole = TextStream('text', TextConfig('text:name', length=2), folded(store, 2))
    assert set(whole.vocabulary[3:]) == set(store.values('name')[folded(store, 2).rows('train')])


@pytest.mark.parametrize(('change', 'fold', 'message'), [
    ({}, 3, 'has the folds 2, 4, 10; choose one'),
    ({'fold': ['2'] * 83 + ['']}, 2, "has the fold ''"),
    ({'fold': ['2', '4'] * 42}, 2, 'has 2 folds; .* 3 are needed'),
    ({'group': ['one'] * 84}, 2, "group 'one' .* in the folds 10, 2, 4"),
])
def test_folds_that_leak_or_are_not_there_are_refused(store_path: Path, tmp_path: Path, change: dict, fold: int,
                                                      message: str) -> None:
    with pytest.raises(UserError, match=message):
        folded(with_columns(store_path, tmp_path / 'store', columns(84) | change), fold)


def test_a_catalog_without_folds_is_refused_by_name(store_path: Path) -> None:
    with pytest.raises(UserError, match="no column 'fold'"):
        folded(Store(store_path), 0)


def test_real_folds_part_the_sources_of_the_clips(shared_data: Path) -> None:
    with (shared_data / 'fights' / 'manifest.csv').open(newline='') as file:
        rows = list(csv.DictReader(file))
    places = {row['group']: row['fold'] for row in rows}
    assert all(places[row['group']] == row['fold'] for row in rows)
