import numpy as np
import pytest

from vmmjax.evaluation import forgetting


def test_the_figures_of_three_steps_by_hand():
    found = forgetting.kept(np.array([[0.8, 0.1, 0.0], [0.9, 0.7, 0.1], [0.6, 0.4, 1.0]]))
    assert found.average == pytest.approx(2 / 3)
    assert found.forgetting == pytest.approx((0.3 + 0.3) / 2)  # From the best before, .9, not the first, .8.
    assert found.backward == pytest.approx((-0.2 - 0.3) / 2)


def test_intervals_hold_the_figure_and_draws_are_paired():
    generator = np.random.default_rng(0)
    accuracies = np.array([[0.9, 0.1], [0.6, 0.9]])
    drawn = [generator.random((1, 3, 2, 200)) < accuracies[:, place][:, None] for place in range(2)]
    twice = [np.concatenate([each, each]) for each in drawn]
    draws = forgetting.resampled(twice, draws=300)
    assert draws.shape == (300, 2, 3)
    np.testing.assert_array_equal(draws[:, 0], draws[:, 1])
    low, high = np.quantile(draws[:, 0], (0.025, 0.975), axis=0)
    assert (low < (0.75, 0.3, -0.3)).all()
    assert (high > (0.75, 0.3, -0.3)).all()
    assert (high - low < 0.15).all()
