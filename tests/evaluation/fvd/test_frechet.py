import functools
import operator

import numpy as np
import pytest
import scipy.linalg
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.errors import UserError
from vmmjax.evaluation.fvd.frechet import Moments, frechet_distance, interval


def test_of_independent_features_it_is_the_closed_form():
    rng = np.random.default_rng(0)
    # Centred columns without correlation in the sample itself: the distance is a sum over them.
    a, b = (np.linalg.svd(x - x.mean(0), full_matrices=False)[0] for x in rng.normal(size=(2, 50, 6)))
    scale_a, scale_b, shift = rng.uniform(1, 3, 6), rng.uniform(1, 3, 6), rng.normal(size=6)
    expected = (shift ** 2).sum() + ((scale_a - scale_b) ** 2).sum() / 49
    assert frechet_distance(a * scale_a, b * scale_b + shift) == pytest.approx(expected, rel=1e-9)


def test_it_is_symmetric_zero_on_itself_and_the_same_after_a_rotation():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(40, 5)), rng.normal(size=(30, 5)) @ rng.normal(size=(5, 5)) + 1
    turn = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    distance = frechet_distance(a, b)
    assert distance > 1
    assert frechet_distance(b, a) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(a @ turn, b @ turn) == pytest.approx(distance, rel=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_fewer_rows_than_columns_and_a_single_column():
    rng = np.random.default_rng(2)
    few = frechet_distance(rng.normal(size=(4, 9)), rng.normal(size=(3, 9)))
    assert np.isfinite(few)
    assert few > 0
    assert frechet_distance([[0.0], [2.0]], [[1.0], [5.0]]) == pytest.approx(4 + (2 ** 0.5 - 8 ** 0.5) ** 2)


@pytest.mark.parametrize(('a', 'b', 'message'), [
    (np.zeros((1, 3)), np.zeros((5, 3)), 'at least two rows'),
    (np.zeros((5, 3)), np.zeros((5, 4)), 'of one length'),
    (np.zeros(3), np.zeros(3), 'shape'),
    (np.zeros((5, 3)), np.full((5, 3), np.nan), 'NaN'),
])
def test_what_has_no_distance_is_refused(a, b, message):
    with pytest.raises(UserError, match=message):
        frechet_distance(a, b)


@pytest.mark.parametrize('ddof', [0, 1])
@pytest.mark.parametrize(('rows', 'columns'), [(60, 8), (300, 40), (12, 20)])
def test_the_root_of_scipy_gives_the_same(rows, columns, ddof):
    rng = np.random.default_rng(rows)
    a, b = (rng.normal(size=(rows, columns)) @ rng.normal(size=(columns, columns)) for _ in range(2))
    cov_a, cov_b = (np.cov(x, rowvar=False, ddof=ddof) for x in (a, b))
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(cov_a + cov_b - 2 * root)
    # SciPy loses digits where the covariance is singular, in the third case.
    assert frechet_distance(a, b, ddof=ddof) == pytest.approx(expected, rel=1e-9 if rows > columns else 1e-5)


@given(st.lists(st.integers(1, 7), min_size=1, max_size=6), st.floats(-1e6, 1e6))
def test_moments_of_parts_are_those_of_the_whole(sizes, offset):
    x = np.random.default_rng(len(sizes)).normal(size=(sum(sizes), 3)) + offset
    parts = [Moments.of(part) for part in np.split(x, np.cumsum(sizes)[:-1])]
    found, whole = functools.reduce(operator.add, parts), Moments.of(x)
    assert found.count == whole.count
    np.testing.assert_allclose(found.mean, whole.mean, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(found.scatter, whole.scatter, rtol=1e-9, atol=1e-7)


def test_parts_of_different_lengths_are_refused():
    with pytest.raises(UserError, match='of 3 and of 4 numbers'):
        Moments.of(np.zeros((2, 3))) + Moments.of(np.zeros((2, 4)))


def test_the_interval_is_as_wide_as_distances_of_other_draws_vary():
    rng = np.random.default_rng(0)

    def draw():
        return rng.normal(size=(300, 4)), rng.normal(size=(300, 4)) * 1.2 + 0.5

    others = [frechet_distance(*draw()) for _ in range(400)]
    expected = np.quantile(others, 0.975) - np.quantile(others, 0.025)
    a, b = draw()
    low, high = interval(a, b, resamples=400)
    assert low < frechet_distance(a, b) < high
    assert high - low == pytest.approx(expected, rel=0.25)
    assert (low, high) == interval(a, b, resamples=400)
