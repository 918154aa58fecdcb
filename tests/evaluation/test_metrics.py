import json
import sys

import hypothesis.extra.numpy as arrays
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings

from vmmjax.errors import UserError
from vmmjax.evaluation import metrics

# Predictions 0, 1, 1, 2 for the truths 0, 1, 2, 2.
SCORES = np.array([[3, 1, 0], [0, 2, 1], [0, 5, 4], [1, 0, 2]], np.float32)
TARGETS = np.array([0, 1, 2, 2], np.int32)
CLASSES = ['a', 'b', 'c']


def test_hand_computed_values():
    found = metrics.classification(SCORES, TARGETS, CLASSES)
    assert found['examples'] == 4
    assert found['accuracy'] == 0.75
    assert found['top5'] == 1.0
    assert found['confusion'] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert found['per_class'] == [
        {'name': 'a', 'precision': 1.0, 'recall': 1.0, 'f1': 1.0, 'support': 1},
        {'name': 'b', 'precision': 0.5, 'recall': 1.0, 'f1': pytest.approx(2 / 3), 'support': 1},
        {'name': 'c', 'precision': 1.0, 'recall': 0.5, 'f1': pytest.approx(2 / 3), 'support': 2}]
    json.dumps(found)


def test_top5_of_seven_classes():
    scores = np.tile(np.arange(7, 0, -1, dtype=np.float32), (3, 1))
    found = metrics.classification(scores, np.array([0, 4, 5]), list('abcdefg'))
    assert found['top5'] == pytest.approx(2 / 3)


def test_of_equal_scores_the_first_class_wins_in_accuracy_and_top5():
    scores = np.zeros((7, 7), np.float32)
    found = metrics.summary(scores, np.arange(7), {})
    assert (found['accuracy'], found['top5']) == (pytest.approx(1 / 7), pytest.approx(5 / 7))


def test_every_class_counts_the_same_in_the_class_accuracy():
    found = metrics.summary(np.eye(3)[[0, 0, 0, 0, 1]], np.array([0, 0, 0, 1, 1]), {})
    assert found['class_accuracy'] == pytest.approx((1 + 1 / 2) / 2)
    assert metrics.summary(SCORES, TARGETS, {})['class_accuracy'] == pytest.approx((1 + 1 + 1 / 2) / 3)


@given(st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 1)), min_size=2, max_size=30))
def test_of_two_classes_the_area_under_the_curve_is_that_of_scikit_learn(clips):
    from sklearn.metrics import roc_auc_score

    margins, targets = np.array(clips).T
    found = metrics.summary(np.stack([-margins, margins], axis=1).astype(np.float32), targets, {})
    if len({*targets.tolist()}) == 1:
        assert 'auc' not in found
    else:
        assert found['auc'] == pytest.approx(roc_auc_score(targets, margins))
    assert 'auc' not in metrics.summary(SCORES, TARGETS, {})


def test_calibration_is_how_far_probabilities_lie_from_how_often_they_are_right():
    def error(probabilities, targets):
        return metrics.summary(np.log(probabilities), np.array(targets), {})['calibration_error']

    half, sure = [0.5 - 1e-9, 0.5 + 1e-9], [0.1, 0.9]
    assert error([half] * 4, [1, 1, 0, 0]) == pytest.approx(0, abs=1e-6)
    assert error([sure] * 10, [1] * 9 + [0]) == pytest.approx(0, abs=1e-6)
    assert error([sure] * 10, [1] * 5 + [0] * 5) == pytest.approx(0.4)
    bins = metrics.calibration(np.log([sure] * 3 + [half] * 2), np.array([1, 1, 0, 0, 1]))
    assert len(bins) == 15
    assert [each for each in bins if each['clips']] == [
        {'clips': 2, 'probability': pytest.approx(0.5), 'right': 0.5},
        {'clips': 3, 'probability': pytest.approx(0.9), 'right': pytest.approx(2 / 3)}]
    # Too sure and too little sure are not weighed against each other.
    assert error([sure] * 2 + [half] * 2, [0, 0, 1, 1]) == pytest.approx((0.9 + 0.5) / 2)


def test_a_class_without_clips_and_predictions_counts_as_zero():
    found = metrics.classification(SCORES[:, :2], np.zeros(4, np.int32), ['a', 'b'])
    assert found['per_class'][1] == {'name': 'b', 'precision': 0.0, 'recall': 0.0, 'f1': 0.0, 'support': 0}


def test_cross_entropy_by_hand_and_for_huge_scores():
    assert metrics.cross_entropy(np.zeros((2, 4), np.float32), np.array([0, 3])) == pytest.approx(np.log(4))
    assert metrics.cross_entropy(np.array([[1e30, 0]], np.float32), np.array([0])) == 0


def test_parts():
    rows = ['left+up', 'left+down', 'right+up', 'left+up']
    sides = ['left', 'left', 'right', 'left']
    parts = metrics.part_classes(rows, sides, name='side')
    assert parts == ['left', 'left', 'right']  # left+down, left+up, right+up
    # Predicted 0, 1, 1, 2 for 0, 1, 2, 2: one of four on the wrong side; 0 for 1 would be right.
    assert metrics.part_accuracy(SCORES, TARGETS, parts) == 0.75
    assert metrics.part_accuracy(SCORES, np.array([1, 0, 0, 2]), parts) == 1.0
    assert metrics.chance(TARGETS, {'side': parts}) == {'accuracy': 0.5, 'side': 0.5}


def test_a_class_with_two_values_of_a_part_is_named():
    with pytest.raises(UserError, match=r"'speed'.*'walk'.*'fast', 'slow'"):
        metrics.part_classes(['walk', 'walk'], ['slow', 'fast'], name='speed')


@pytest.mark.parametrize(('scores', 'targets', 'said'), [
    (np.where(SCORES == 5, np.nan, SCORES), TARGETS, '1 of 4 clips are NaN'),
    (np.where(SCORES == 5, np.inf, SCORES), TARGETS, 'infinite'),
    (SCORES, TARGETS + 1, 'reach from 1 to 3'),
    (SCORES, TARGETS - 1, 'reach from -1'),
    (SCORES, TARGETS[:2], 'targets'),
    (SCORES[:0], TARGETS[:0], 'empty'),
])
def test_what_cannot_be_measured_is_refused(scores, targets, said):
    for measure in (lambda: metrics.classification(scores, targets, CLASSES),
                    lambda: metrics.summary(scores, targets, {}),
                    lambda: metrics.cross_entropy(scores, targets),
                    lambda: metrics.part_accuracy(scores, targets, CLASSES)):
        with pytest.raises(UserError, match=said):
            measure()


def test_class_names_that_do_not_fit_are_refused():
    with pytest.raises(UserError, match='3 columns'):
        metrics.classification(SCORES, TARGETS, ['a', 'b'])


def test_a_missing_package_names_the_extra_and_training_needs_none(monkeypatch):
    monkeypatch.setitem(sys.modules, 'sklearn.metrics', None)
    metrics.summary(SCORES, TARGETS, {})
    with pytest.raises(UserError, match=r"sklearn.*vmmjax\[evaluation\]"):
        metrics.classification(SCORES, TARGETS, CLASSES)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), clips=st.integers(1, 12), count=st.integers(2, 8))
def test_figures_agree_with_the_confusion_matrix(data, clips, count):
    scores = data.draw(arrays.arrays(np.float32, (clips, count), elements=st.floats(-5, 5, width=32)))
    targets = data.draw(arrays.arrays(np.int32, clips, elements=st.integers(0, count - 1)))
    found = metrics.classification(scores, targets, [f'class {i}' for i in range(count)])
    confusion = np.array(found['confusion'])
    assert confusion.shape == (count, count)
    assert confusion.sum() == clips
    assert found['accuracy'] == pytest.approx(np.trace(confusion) / clips)
    assert found['accuracy'] <= found['top5'] <= 1
    assert count > 5 or found['top5'] == 1
    assert [row['support'] for row in found['per_class']] == confusion.sum(axis=1).tolist()
    # A part that all classes share is never wrong; one that is each class's own is the accuracy.
    assert metrics.part_accuracy(scores, targets, ['same'] * count) == 1
    assert metrics.part_accuracy(scores, targets, list(range(count))) == found['accuracy']
