import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from scipy import special

from vmmjax.evaluation import metrics, view_averages

COUNTS = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def views(counts, classes=4, spread=3.0):
    starts = np.cumsum([0, *counts[:-1]])
    return np.random.default_rng(len(counts)).normal(size=(sum(counts), classes)) * spread, starts


def clip_by_clip(scores, starts, mean):
    return np.stack([mean(part) for part in np.split(scores, starts[1:])])


@settings(max_examples=30, deadline=None)
@given(counts=COUNTS)
def test_each_average_is_what_its_name_says(counts):
    scores, starts = views(counts)
    np.testing.assert_allclose(view_averages.logits(scores, starts), clip_by_clip(scores, starts, lambda x: x.mean(0)))
    np.testing.assert_allclose(special.softmax(view_averages.probabilities(scores, starts), axis=1),
                               clip_by_clip(scores, starts, lambda x: special.softmax(x, axis=1).mean(0)))
    np.testing.assert_allclose(special.expit(view_averages.chances(scores, starts)),
                               clip_by_clip(scores, starts, lambda x: special.expit(x).mean(0)))


def test_one_sure_view_outvotes_two_others_as_logits_and_not_as_probabilities():
    scores = np.array([[30., 0], [0, 2.], [0, 2.]])
    assert view_averages.logits(scores, np.array([0])).argmax() == 0
    assert view_averages.probabilities(scores, np.array([0])).argmax() == 1


@pytest.mark.parametrize('average', [view_averages.probabilities, view_averages.chances])
def test_scores_of_any_size_stay_finite_and_those_of_one_view_say_the_same(average):
    scores = np.array([[2000., -2000., 0], [-2000., 2000., 1], [5., 4., 3]])
    found = average(scores, np.array([0, 2]))
    assert np.isfinite(found).all()
    targets = np.array([0, 1])
    whole = average(scores[1:], np.arange(2))
    assert metrics.cross_entropy(whole, targets) == pytest.approx(metrics.cross_entropy(scores[1:], targets))
