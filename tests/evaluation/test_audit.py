import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.evaluation import audit

N = 240
RNG = np.random.default_rng(0)
DIGIT = RNG.integers(0, 4, N).astype(str)
SPLIT = np.array(['train'] * 140 + ['validation'] * 20 + ['test'] * 80)
FOLD = (np.arange(N) % 4).astype(str)


def noise(columns=6):
    return RNG.normal(size=(N, columns)).astype(np.float32)


@pytest.mark.parametrize('folds', [False, True])
def test_what_a_part_of_a_clip_holds_is_told(folds):
    x = noise()
    x[:, 2] += 4 * DIGIT.astype(float)
    x[::7] = np.nan  # Clips without that part.
    told = audit.told(x, DIGIT, {'split': SPLIT, 'fold': FOLD}, folds=folds)
    assert told.clips == (N if folds else 80)
    assert told.accuracy.low > 0.6 > 0.4 > told.majority
    assert told.auc > 0.8
    assert told.bits > 0.5
    assert told.p < 0.01


def test_what_it_does_not_hold_is_not():
    told = audit.told(noise(), DIGIT, {'fold': FOLD}, folds=True)
    assert told.accuracy.low < 0.25 < told.accuracy.high
    assert told.p > 0.05
    assert told.auc == pytest.approx(0.5, abs=0.1)


def test_far_fewer_than_by_chance_is_a_dependence():
    # Each value of `word` occurs once with each digit: what was trained on is wrong for what is tested.
    word, digit, fold = (each.ravel() for each in np.meshgrid(np.arange(12), np.arange(4), [0], indexing='ij'))
    fold = (word + digit) % 4
    x = np.eye(12, dtype=np.float32)[word]
    told = audit.told(x, digit.astype(str), {'fold': fold.astype(str)}, folds=True)
    assert told.accuracy.mean < 0.05
    assert told.bits < 0
    assert told.p < 0.01


def test_groups_are_permuted_as_wholes():
    values, units = np.array(list('aaabbbccc')), np.repeat(np.arange(3), 3)
    drawn = {''.join(audit.permuted(np.random.default_rng(seed), values, np.zeros(9), units)) for seed in range(50)}
    assert len(drawn) == 6
    assert all(len(set(text[first:first + 3])) == 1 for text in drawn for first in (0, 3, 6))


def test_clips_of_mixed_groups_are_permuted_within_them_and_folds_are_kept():
    values = np.array(list('abcabdxy'))
    units, part = np.array([0, 0, 0, 1, 1, 1, 2, 2]), np.array([0, 0, 0, 0, 0, 0, 1, 1])
    drawn = [audit.permuted(np.random.default_rng(seed), values, part, units) for seed in range(30)]
    assert all(sorted(each[:3]) == ['a', 'b', 'c'] and sorted(each[3:6]) == ['a', 'b', 'd'] for each in drawn)
    assert {''.join(each[6:]) for each in drawn} == {'xy', 'yx'}


def test_one_value_is_nothing_to_tell():
    with pytest.raises(UserError, match='at least two values of the target'):
        audit.told(noise(), np.full(N, 'one'), {'split': SPLIT}, folds=False)
