import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.evaluation.frechet import frechet_distance


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
    (np.zeros(3), np.zeros(3), 'shapes'),
    (np.zeros((5, 3)), np.full((5, 3), np.nan), 'NaN'),
])
def test_what_has_no_distance_is_refused(a, b, message):
    with pytest.raises(UserError, match=message):
        frechet_distance(a, b)
