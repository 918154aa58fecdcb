from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.errors import UserError
from vmmjax.pipeline.few_labels import labelled, with_few_labels


def store(labels, others=0):
    """A store whose training clips have these labels, and clips of another split behind them."""
    values = np.array([*labels, *['x'] * others])
    return SimpleNamespace(name='s', values=lambda name: values, rows=lambda split: range(len(labels)),
                           splits={'train': range(len(labels)), 'test': range(len(labels), len(values))})


@given(st.lists(st.sampled_from(['', 'a', 'b', 'c']), min_size=1, max_size=80).filter(any),
       st.floats(0.01, 1), st.floats(0.01, 1), st.integers(0, 5))
def test_each_class_has_its_share_and_less_is_part_of_more(labels, share, other, seed):
    labels, (low, high) = np.array(labels), sorted((share, other))
    few, more = (labelled(store(labels, 7), ['label'], each, seed) for each in (low, high))
    assert set(few) <= set(more)
    assert (labels[more] != '').all()
    known = (labels != '').sum()
    assert len(more) == max(1, int(high * known + 0.5))
    for name in 'abc':
        share_of = len(more) / known * (labels == name).sum()
        assert abs((labels[more] == name).sum() - share_of) < 2


def test_seeds_draw_other_clips_and_combinations_of_columns_are_classes():
    labels = list('ab' * 50)
    one, same, other = (labelled(store(labels), ['label'], 0.1, seed) for seed in (0, 0, 1))
    assert len(one) == 10
    np.testing.assert_array_equal(one, same)
    assert set(one) != set(other)
    unique = labelled(store(list(map(str, range(200)))), ['one', 'two'], 0.25, 0)
    assert len(unique) == 50


def test_only_the_training_split_changes():
    whole = store('ab' * 10, others=3)
    few = with_few_labels(whole, ['label'], 0.2, 0)
    assert len(few.splits['train']) == 4
    assert few.splits['test'] == whole.splits['test']
    assert with_few_labels(whole, ['label'], 1.0, 0) is whole
    del whole.splits['train']
    assert with_few_labels(whole, ['label'], 0.5, 0) is whole  # To be measured on.


@pytest.mark.parametrize(('labels', 'share', 'message'), [('ab', 0.0, 'labels_share is 0.0'), ('ab', 1.5, 'is 1.5'),
                                                         (['', ''], 0.5, 'no training clip .* has a value of label')])
def test_what_cannot_be_drawn(labels, share, message):
    with pytest.raises(UserError, match=message):
        labelled(store(labels), ['label'], share, 0)
