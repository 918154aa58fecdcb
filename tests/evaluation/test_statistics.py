from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vmmjax.errors import UserError
from vmmjax.evaluation import statistics
from vmmjax.evaluation.predictions import Predictions

RNG = np.random.default_rng(0)
ROWS = np.array([3, 5, 8], np.int32)


class Catalog:
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


def test_the_interval_is_that_of_the_normal_approximation_where_there_are_many_clips() -> None:
    right = (RNG.random(2000) < 0.8).astype(float)
    found = statistics.interval(right)
    error = 1.96 * np.sqrt(right.mean() * (1 - right.mean()) / 2000)
    assert found.mean == pytest.approx(right.mean())
    np.testing.assert_allclose([found.low, found.high], [right.mean() - error, right.mean() + error], atol=0.002)
    assert statistics.interval(right) == found  # Seeded.


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    holds = []
    for seed in range(150):
        draws = np.random.default_rng(seed)
        # 40 groups of 1 to 6 clips that are right or wrong together: clips by themselves would be far too sure.
        sizes = draws.integers(1, 7, 40)
        values = np.repeat(draws.random(40) < 0.7, sizes).astype(float)
        groups = np.repeat([f'g{i}' for i in range(40)], sizes)
        holds.append([low <= 0.7 <= high for _, low, high in (
            statistics.interval(values, groups, seed=seed), statistics.interval(values, seed=seed))])
    clustered, alone = np.mean(holds, axis=0)
    assert clustered > 0.89
    assert alone < 0.85


@settings(max_examples=15)
@given(values=st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=30), seed=st.integers(0, 5))
def test_the_mean_lies_in_its_interval(values: list[float], seed: int) -> None:
    found = statistics.interval(np.array(values), seed=seed)
    assert 0 <= found.low <= found.mean <= found.high <= 1
    assert found.mean == pytest.approx(np.mean(values))
    # Each in a group of its own is as without groups.
    own = statistics.interval(np.array(values), np.array([''] * len(values)), seed=seed)
    assert own == found


def test_one_group_has_no_interval_and_no_clip_no_mean() -> None:
    found = statistics.interval(np.array([1.0, 0.0]), np.array(['a', 'a']))
    assert found.mean == 0.5
    assert np.isnan(found.low)
    with pytest.raises(UserError, match='no clips'):
        statistics.interval(np.zeros(0))


def test_pairs_tell_more_than_each_alone() -> None:
    hard = RNG.random(300)
    first, second = (hard < 0.70).astype(float), (hard < 0.76).astype(float)
    difference = statistics.interval(second - first)
    assert difference.low > 0
    assert statistics.interval(second).low < statistics.interval(first).high


@pytest.mark.parametrize(('one', 'other', 'p'), [(0, 0, 1.0), (0, 5, 0.0625), (3, 3, 1.0), (2, 12, 0.012939453125)])
def test_mcnemar_is_the_binomial_test_of_the_clips_they_differ_on(one: int, other: int, p: float) -> None:
    # 2 * (C(14, 0) + C(14, 1) + C(14, 2)) / 2 ** 14 = 0.01294.
    first = np.array([True] * 20 + [True] * one + [False] * other)
    second = np.array([True] * 20 + [False] * one + [True] * other)
    assert statistics.mcnemar(first, second) == pytest.approx(p)
