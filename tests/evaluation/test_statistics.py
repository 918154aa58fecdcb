from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.evaluation import statistics
from vmmjax.evaluation.predictions import Predictions

ROWS = np.array([3, 5, 8], np.int32)


class Catalog:
    name = 'stores/a'
    columns: ClassVar = {'id': np.array([f'clip{i}' for i in range(10)]), 'group': np.array(['', 'a'] * 5)}

    def has_values(self, name: str) -> bool:
        return name in self.columns

    def values(self, name: str) -> np.ndarray:
        return self.columns[name]


STORE: Any = Catalog()


def predictions() -> dict[str, Predictions]:
    target = np.array([0, 1, 1], np.int32)
    present = {'audio': np.array([True, False, True]), 'rgb': np.array([True, True, True])}
    return {name: Predictions(ROWS, target, scores.astype(np.float32), present) for name, scores in {
        'audio+rgb': np.array([[2, 1], [0, 3], [1, 0]]), 'audio': np.array([[2, 1], [0, 3], [0, 1]])}.items()}


def test_predictions_come_back(tmp_path: Path) -> None:
    path = tmp_path / 'eval' / 'test.npz'
    statistics.write_scores(path, predictions(), STORE)
    found = statistics.read_scores(path)
    assert found.clip.tolist() == ['clip3', 'clip5', 'clip8']
    assert found.group.tolist() == ['a', 'a', '']
    assert list(found.scores) == ['audio+rgb', 'audio']
    np.testing.assert_array_equal(found.scores['audio'][''], predictions()['audio'].scores)
    np.testing.assert_array_equal(found.right('audio+rgb'), [1, 1, 0])
    np.testing.assert_array_equal(found.right('audio'), [1, np.nan, 1])
    before = path.read_bytes()
    statistics.write_scores(path, predictions(), STORE)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_of_several_targets_the_part_that_is_right_counts(tmp_path: Path) -> None:
    scores = np.eye(3, dtype=np.float32)
    target = {'color': np.array([0, 1, 2]), 'digit': np.array([0, 2, -1])}
    rows = SimpleNamespace(id=ROWS, target=target, scores={'color': scores, 'digit': scores},
                           present={'rgb': np.ones(3, bool)})
    statistics.write_scores(tmp_path / 'test.npz', {'rgb': rows}, STORE)
    found = statistics.read_scores(tmp_path / 'test.npz')
    np.testing.assert_array_equal(found.target['digit'], [0, 2, -1])
    assert found.are_of_classes
    np.testing.assert_array_equal(found.right('rgb'), [1, 0.5, 1])
    rows.target = {'height': np.array([0.1, 0.2, 0.3])}
    statistics.write_scores(tmp_path / 'test.npz', {'rgb': rows}, STORE)
    assert not statistics.read_scores(tmp_path / 'test.npz').are_of_classes


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / 'test.npz').write_bytes(b'PK no zip')
    with pytest.raises(UserError, match=r'test.npz holds no predictions .*vmmjax evaluate'):
        statistics.read_scores(tmp_path / 'test.npz')
    with pytest.raises(UserError, match=r'none\.npz holds no predictions'):
        statistics.read_scores(tmp_path / 'none.npz')


@pytest.mark.parametrize(('one', 'other', 'p'), [(0, 0, 1.0), (0, 5, 0.0625), (3, 3, 1.0), (2, 12, 0.012939453125)])
def test_mcnemar_is_the_binomial_test_of_the_clips_they_differ_on(one: int, other: int, p: float) -> None:
    # 2 * (C(14, 0) + C(14, 1) + C(14, 2)) / 2 ** 14 = 0.01294.
    first = np.array([True] * 20 + [True] * one + [False] * other)
    second = np.array([True] * 20 + [False] * one + [True] * other)
    assert statistics.mcnemar(first, second) == pytest.approx(p)
