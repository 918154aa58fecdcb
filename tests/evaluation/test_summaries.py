import itertools
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from vmmjax.evaluation import summaries


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.floats(0.1, 1))
def test_the_best_segments_that_fit_are_chosen(scores, share):
    cut = np.arange(len(scores) + 1.0)
    taken = summaries.chosen(np.array(scores), cut, share)
    fits = max(1, int(share * len(scores) + 1e-6))
    best = max(sum(scores[place] for place in places) for places in itertools.combinations(range(len(scores)), fits))
    assert taken.sum() == fits
    assert np.array(scores)[taken].sum() == pytest.approx(best)


def test_what_nobody_saw_is_not_chosen_unless_nothing_was_seen():
    cut = np.arange(5.0)
    np.testing.assert_array_equal(summaries.chosen(np.array([np.nan, 0.1, 0.9, np.nan]), cut, 0.75), [0, 1, 1, 0])
    np.testing.assert_array_equal(summaries.chosen(np.full(4, np.nan), cut, 0.5), [1, 0, 0, 0])


def test_a_rest_joins_the_last_segment_or_is_one():
    np.testing.assert_allclose(summaries.edges(3.4, 1.0), [0, 1, 2, 3.4])
    np.testing.assert_allclose(summaries.edges(3.6, 1.0), [0, 1, 2, 3, 3.6])
    np.testing.assert_allclose(summaries.edges(0.2, 1.0), [0, 0.2])


def test_means_over_segments_weigh_by_time():
    spans = np.array([[0.0, 0.5], [0.5, 1.5], [3.0, 4.0]])
    found = summaries.means(spans, np.array([1.0, 0.0, 0.25]), np.arange(5.0))
    np.testing.assert_allclose(found, [0.5, 0.0, np.nan, 0.25])


def test_an_hour_of_many_spans_needs_little_memory():
    random, cut = np.random.default_rng(0), np.arange(3601.0)
    edges = np.sort(random.random(2 * 10000)) * 3600
    spans, values = edges.reshape(-1, 2), random.random(10000)
    tracemalloc.start()
    found = summaries.means(spans, values, cut)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10e6
    for place in (0, 7, 3599):
        shared = np.maximum(np.minimum(spans[:, 1], cut[place + 1]) - np.maximum(spans[:, 0], cut[place]), 0)
        assert found[place] == pytest.approx(values @ shared / shared.sum())


def test_what_overlaps_adds_up():
    spans, values = np.array([[0.0, 2.0], [1.0, 3.0], [0.0, 0.0]]), np.array([1.0, 0.5, 9.0])
    np.testing.assert_allclose(summaries.integral(spans, values, np.array([0, 1, 2, 3, 4])), [0, 1, 2.5, 3, 3])


def test_what_is_kept_and_the_f1_of_it():
    importance, cut = np.array([0.0, 1.0, 0.5, 0.0]), np.array([0.0, 2.0, 4.0, 6.0, 7.0])
    taken = np.array([True, True, False, False])
    assert summaries.kept(importance, cut, taken) == pytest.approx(2 / 3)
    assert summaries.f1(importance, cut, taken) == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))
    assert np.isnan(summaries.kept(np.zeros(4), cut, taken))
    assert np.isnan(summaries.f1(np.zeros(4), cut, taken))
    assert summaries.parts(cut, taken) == [(0.0, 4.0)]
    assert summaries.parts(cut, ~taken) == [(4.0, 7.0)]


def test_tau_is_that_of_scipy_and_none_of_scores_that_say_nothing():
    random = np.random.default_rng(0)
    scores, importance = random.normal(size=20), random.integers(0, 3, 20).astype(float)
    # Kendall's tau-b from its definition.
    pairs = [(np.sign(scores[i] - scores[j]), np.sign(importance[i] - importance[j]))
             for i, j in itertools.combinations(range(20), 2)]
    concordance = sum(one * other for one, other in pairs)
    untied = np.sqrt(sum(one != 0 for one, _ in pairs) * sum(other != 0 for _, other in pairs))
    assert summaries.tau(scores, importance) == pytest.approx(concordance / untied)
    assert summaries.tau(scores, importance) == pytest.approx(stats.kendalltau(scores, importance).statistic)
    assert np.isnan(summaries.tau(np.ones(20), importance))


def test_equal_distances():
    taken = summaries.uniform(10, np.arange(11.0), 0.2)
    assert np.flatnonzero(taken).tolist() == [2, 7]
