import json
import re

import numpy as np
import pytest

from tests.evaluation.test_score_fusion import save
from vmmjax.errors import UserError
from vmmjax.evaluation import outside_scores

RNG = np.random.default_rng(0)
TARGET = RNG.integers(0, 3, 60)
CLASSES = ['a', 'b', 'c']


def scores(share):
    """Logits that are right for the first clips."""
    found = RNG.normal(size=(60, 3))
    sure = np.arange(60) < 60 * share
    found[sure, TARGET[sure]] += 9
    found[~sure, TARGET[~sure]] -= 9
    return found


@pytest.fixture
def ours(tmp_path):
    (tmp_path / 'eval').mkdir()
    paths = [save(tmp_path / 'eval' / f'{seed}.npz', scores(0.5), TARGET) for seed in range(2)]
    (tmp_path / 'eval' / '0.json').write_text(json.dumps(dict(
        split='0', step=1, examples=60, metrics={}, subsets={}, chance={}, classes=CLASSES)))
    return paths


def theirs(path, values, clips=range(60), **more):
    np.savez(path, clip=[f'clip{i}' for i in clips], scores=values, **more)
    return path


def test_a_table_of_both_with_their_difference(ours, tmp_path):
    order = RNG.permutation(60)
    said = [theirs(tmp_path / f'{seed}.npz', scores(0.8)[order], order) for seed in range(2)]
    text = outside_scores.table(said, ours)
    assert re.search(r'theirs +2 +60 +80\.0 ', text)
    assert re.search(r'ours +2 +60 +50\.0 ', text)
    low, high = map(float, re.search(r'theirs - ours: \+30\.0 points \+([\d.]+) to \+([\d.]+)', text).groups())
    assert 0 < low < 30 < high
    assert 'seeds crossed' in text
    assert re.search(r'theirs +1 ', outside_scores.table(said[:1], ours))


def test_classes_in_another_order_are_looked_up(ours, tmp_path):
    path = theirs(tmp_path / 'x.npz', scores(1.0)[:, [2, 0, 1]], classes=['c', 'a', 'b'])
    assert re.search(r'theirs +1 +60 +100\.0 ', outside_scores.table([path], ours))


@pytest.mark.parametrize(('made', 'message'), [
    (dict(values=np.zeros((60, 4))), r'scores of shape \(60, 4\); \(60, 3\)'),
    (dict(values=np.zeros((59, 3)), clips=range(59)), "lacks 1 of the 60 clips of .*clip59"),
    (dict(values=np.full((60, 3), np.nan)), 'finite|NaN'),
    (dict(values=np.zeros((60, 3)), classes=['a', 'b', 'x']), 'other classes than .*: c, x'),
])
def test_what_does_not_fit_is_one_sentence(ours, tmp_path, made, message):
    values, clips = made.pop('values'), made.pop('clips', range(60))
    with pytest.raises(UserError, match=message):
        outside_scores.table([theirs(tmp_path / 'x.npz', values, clips, **made)], ours)


def test_a_file_that_holds_none_is_named(ours, tmp_path):
    np.savez(tmp_path / 'x.npz', logits=np.zeros(3))
    with pytest.raises(UserError, match='holds no scores'):
        outside_scores.table([tmp_path / 'x.npz'], ours)
