"""What a task says of live windows, and of scores that are no numbers."""

import numpy as np
import pytest
from scipy import special

from tests.tasks import asked
from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.tasks.alarms import Rules

SCORES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def levels(task, scores, target='label', **facts):
    found = asked.task(task, target, **facts).levels(scores)
    for level in found.values():
        assert level.values.dtype == np.float64
        assert level.mask.dtype == bool
        assert level.values.shape == level.mask.shape
    return found


def test_of_classes_their_probabilities():
    found = levels(dict(name='classification'), SCORES, classes=['a', 'b', 'c'])
    assert list(found) == ['a', 'b', 'c']
    np.testing.assert_allclose(np.hstack([level.values for level in found.values()]), special.softmax(SCORES, 1),
                               rtol=1e-6)
    assert all(level.mask.all() for level in found.values())


def test_of_several_targets_each_class_of_each():
    found = levels(dict(name='classification'), {'one': SCORES, 'two': SCORES[:, :2]}, ('one', 'two'),
                   classes={'one': ['a', 'b', 'c'], 'two': ['a', 'd']})
    assert list(found) == ['one/a', 'one/b', 'one/c', 'two/a', 'two/d']
    np.testing.assert_allclose(found['two/a'].values + found['two/d'].values, 1)


def test_of_names_each_probability():
    found = levels(dict(name='multi_label'), SCORES, classes=['a', 'b', 'c'])
    np.testing.assert_allclose(found['b'].values[:, 0], special.expit(SCORES[:, 1]), rtol=1e-6)


def test_of_numbers_they_in_their_unit():
    found = levels(dict(name='regression'), SCORES[:, :2], ('size', 'mass'), scales={'size': [120.0, 10.0]})
    np.testing.assert_allclose(found['size'].values[:, 0], 120 + 10 * SCORES[:, 0], rtol=1e-6)
    np.testing.assert_allclose(found['mass'].values[:, 0], SCORES[:, 1], rtol=1e-6)
    assert asked.task(dict(name='regression'), 'size').rules is None


def test_of_events_each_token():
    mask = (SCORES > 0).astype(np.float32)
    task = dict(name='events', high=0.8, low=0.2, minimum=1.0, cool_down=3.0)
    (level,) = levels(task, {'logits': SCORES, 'mask': mask}, ('from', 'to'), classes=['fight']).values()
    np.testing.assert_allclose(level.values, special.expit(SCORES), rtol=1e-6)
    np.testing.assert_array_equal(level.mask, mask > 0)
    assert asked.task(task, ('from', 'to')).rules == Rules(0.8, 0.2, 1.0, 3.0)


def test_a_task_that_compares_raises_none():
    with pytest.raises(UserError, match='retrieval raises no alarms'):
        levels(dict(name='retrieval', streams=('rgb', 'audio'), dimensions=2), SCORES)


BROKEN = np.float32([[1, np.nan, 0], [0, 1, 2]])
OVER_TIME = {'logits': BROKEN, 'mask': np.ones((2, 3), np.float32)}
TIMES = {'window': np.float32([[0, 3], [3, 3]]), 'end': np.float32([6, 6])}


@pytest.mark.parametrize(('name', 'target', 'scores'), [
    ('classification', 'label', BROKEN), ('multi_label', 'labels', BROKEN), ('events', ('from', 'to'), OVER_TIME),
    ('summarization', ('from', 'to'), OVER_TIME), ('regression', ('a', 'b', 'c'), BROKEN)])
def test_what_a_diverged_model_says_is_not_read(name, target, scores):
    one = asked.task(dict(name=name), target, classes=['a', 'b', 'c'])
    rows = Predictions(np.zeros(2, np.int32), TIMES, scores, {'rgb': np.ones(2, bool)})
    with pytest.raises(UserError, match='NaN or infinite: the model has diverged'):
        one.reading(rows, 0)
