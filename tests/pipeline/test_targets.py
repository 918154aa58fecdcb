import csv
import json
from pathlib import Path

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.pipeline.event_targets import Events
from vmmjax.pipeline.targets import Classes, Names, Numbers, WindowBatch
from vmmjax.store import catalog
from vmmjax.store.store import Store

COLUMNS: dict[str, list[str]] = {
    'label': ['left', 'up', '', 'right'], 'word': ['b', 'b', 'a', ''], 'names': ['dog;rain', ' rain ', '', 'dog'],
    'number': ['1.5', '', '-2', '1e3'], 'from': ['11', '', '10.5;12', '9'], 'to': ['12', '', '11;14', '10']}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A catalog of four clips that begin at 10 s of their file and last 4."""
    return _written(tmp_path, COLUMNS)


def _written(folder: Path, columns: dict[str, list[str]]) -> Store:
    lines = [[*catalog.FIXED, *columns]]
    lines += [[str(row), f'clip{row}', 'train', 'a.mp4', '10', '14', '4', *[''] * (len(catalog.FIXED) - 7), *values]
              for row, values in enumerate(zip(*columns.values(), strict=True))]
    with open(folder / 'catalog.csv', 'w', newline='') as file:
        csv.writer(file).writerows(lines)
    (folder / 'store.json').write_text(json.dumps({'format': 1, 'splits': {'train': [0, 4]}}))
    return Store(folder)


def _windows(**changes: list[float] | list[bool]) -> WindowBatch:
    whole = WindowBatch.whole(np.arange(4), np.full(4, 4.0))
    return whole._replace(**{name: np.array(values) for name, values in changes.items()})


def test_classes_of_several_columns(store: Store) -> None:
    labels = Classes(store, ('label', 'word'), [('left', 'right')])
    assert labels.classes == {'label': ['left', 'right', 'up'], 'word': ['a', 'b']}
    assert str(labels) == 'label: 3 classes, word: 2 classes'
    found = labels.of(_windows(mirrors=[True, True, True, False], real=[True, True, True, False]))
    assert found['target/label'].tolist() == [1, 2, -1, -1]
    assert found['target/word'].tolist() == [1, 1, 0, -1]
    assert found['target/word'].dtype == np.int32


def test_a_flip_pair_belongs_to_the_column_whose_values_it_has(store: Store) -> None:
    labels = Classes(store, ('label', 'word'), [('a', 'b')])
    found = labels.of(_windows(mirrors=[True] * 4))
    assert found['target/label'].tolist() == [0, 2, -1, 1]
    assert found['target/word'].tolist() == [0, 0, 1, -1]
    with pytest.raises(UserError, match=r"'rigth', which is no value of 'label': did you mean 'right'"):
        Classes(store, ('label', 'word'), [('left', 'rigth')])


def test_several_names_a_clip(store: Store) -> None:
    labels = Names(store, 'names')
    assert labels.classes == ['dog', 'rain']
    assert labels.specs == {'target/names': ((2,), np.float32)}
    np.testing.assert_array_equal(labels.of(_windows(real=[True, True, True, False]))['target/names'],
                                  [[1, 1], [0, 1], [np.nan] * 2, [np.nan] * 2])


def test_numbers(store: Store) -> None:
    found = Numbers(store, ('number',)).of(_windows())['target/number']
    np.testing.assert_array_equal(found, np.float32([1.5, np.nan, -2, 1000]))
    with pytest.raises(UserError, match=r"The clip 'clip0' .* has 'label' = 'left', which is no number"):
        Numbers(store, 'label')


def test_events_are_in_the_time_of_the_window(store: Store) -> None:
    labels = Events(store, ('from', 'to'), '')
    assert labels.specs['target/events'] == ((2, 2), np.float32)
    found = labels.of(_windows(starts=[0.5, 0, 1, 0], seconds=[2.0, 4, 3, 4], real=[True, True, True, False]))
    events = found['target/events']
    np.testing.assert_array_equal(events[0, 0], [0.5, 1.5])  # At 11 s of a clip that begins at 10.
    np.testing.assert_array_equal(events[2], [[-0.5, 0], [1, 3]])
    np.testing.assert_array_equal(events[1, :, 1] - events[1, :, 0], 0)  # None.
    assert np.isnan(events[3]).all()
    np.testing.assert_array_equal(found['target/window'][:3], [[0.5, 2], [0, 4], [1, 3]])


def test_a_label_of_the_whole_clip_is_an_event_as_long_as_it(store: Store) -> None:
    events = Events(store, 'label', 'up').of(_windows())['target/events']
    np.testing.assert_array_equal(events[:, 0], [[0, 0], [0, 4], [np.nan] * 2, [0, 0]])


@pytest.mark.parametrize(('target', 'positive', 'message'), [
    ('label', 'upp', "config.task.positive is 'upp'.*did you mean 'up'"),
    (('from', 'to', 'label'), '', 'a column of starts and one of ends'),
    (('from', 'label'), '', "'label' = 'left', which is no number"),
    (('to', 'from'), '', 'which are no pairs'),
    (('from', 'number'), '', 'which are no pairs'),
])
def test_events_that_are_none(store: Store, target: str | tuple[str, ...], positive: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        Events(store, target, positive)
