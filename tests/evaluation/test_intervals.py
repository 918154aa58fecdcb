import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from vmmjax.errors import UserError
from vmmjax.evaluation import intervals
from vmmjax.evaluation.intervals import Interval

FRACTIONS = st.lists(st.sampled_from([0.0, 0.25, 1.0]), min_size=5, max_size=40)
KINDS = [intervals.proportion, intervals.difference, intervals.mean]


def correct(count: int, clips: int) -> np.ndarray:
    return (np.arange(clips) < count).astype(float)


def names(clips: int, groups: int) -> np.ndarray:
    return np.array([f'g{place % groups}' for place in range(clips)])


def close(found: Interval, other: Interval, tolerance: float = 1e-9) -> bool:
    return found.method == other.method and np.allclose(found[:3], other[:3], atol=tolerance)


@pytest.mark.parametrize(('count', 'clips'), [(15, 30), (26, 30), (263, 300), (90, 100)])
def test_independent_clips_have_the_interval_of_wilson(count: int, clips: int) -> None:
    found = intervals.proportion(correct(count, clips))
    expected = stats.binomtest(count, clips).proportion_ci(method='wilson')
    assert found[:3] == pytest.approx((count / clips, expected.low, expected.high))
    assert found.label == '95 % CI, Wilson'


def test_the_published_example_of_wilson() -> None:
    # Newcombe (1998), Statistics in Medicine 17, table I, method 3: 81 of 263 and 15 of 148.
    for count, clips, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605)):
        assert intervals.proportion(correct(count, clips))[1:3] == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize('wrong', [1, 2, 3])
def test_few_wrong_clips_get_the_bound_of_poisson(wrong: int) -> None:
    found = intervals.proportion(correct(100 - wrong, 100))
    # Brown, Cai and DasGupta (2001), section 4.1.1: half the 0.05 quantile of chi-squared with 2 x degrees of freedom.
    assert 1 - found.high == pytest.approx(stats.chi2.ppf(0.05, 2 * wrong) / 200)
    assert found.low == pytest.approx(stats.binomtest(100 - wrong, 100).proportion_ci(method='wilson').low)


def test_nothing_but_correct_clips_gives_an_interval_of_some_width() -> None:
    z = stats.norm.ppf(0.975)
    assert intervals.proportion(np.ones(30))[:3] == pytest.approx((1, 30 / (30 + z * z), 1))
    assert intervals.proportion(np.zeros(30))[:3] == pytest.approx((0, 0, z * z / (30 + z * z)))
    few, many = (intervals.proportion(np.ones(300), names(300, groups)) for groups in (5, 50))
    assert few.low < many.low < intervals.proportion(np.ones(300)).low
    assert few.high == many.high == 1
    found = intervals.difference(np.zeros(100))
    assert -0.05 < found.low < 0 < found.high < 0.05


def test_the_published_example_of_bonett_and_price() -> None:
    # That of `ci.prop.ps` in the R package statpsych, which is by Bonett: 26 and 4 of 48 discordant.
    found = intervals.difference(np.repeat([1.0, -1.0, 0.0], (26, 4, 18)))
    assert found[:3] == pytest.approx((22 / 48, 0.2548067, 0.6251933), abs=5e-8)
    assert found.label == '95 % CI, Bonett-Price'


def test_groups_of_clips_that_are_all_alike_are_one_clip_each() -> None:
    # Eighty groups whose clips are correct or not together: the estimate outweighs what was assumed of them.
    right = np.repeat(correct(60, 80), 5)
    found = intervals.proportion(right, np.repeat([f'g{place}' for place in range(80)], 5))
    alone = intervals.proportion(correct(60, 80))
    assert found.label == '95 % CI, Korn-Graubard'
    assert found[:3] == pytest.approx(alone[:3], abs=0.012)


def test_the_effective_number_is_that_of_many_groups() -> None:
    rng = np.random.default_rng(0)
    right = (rng.random((400, 5)) < rng.beta(8, 2, (400, 1))).astype(float)
    found = intervals.proportion(right.reshape(-1), np.repeat([f'g{place}' for place in range(400)], 5))
    error = stats.norm.ppf(0.975) * stats.sem(right.mean(1))  # Of that many groups the means are normal.
    assert found.high - found.low == pytest.approx(2 * error, rel=0.05)


def test_of_few_groups_there_is_no_interval_and_it_is_said() -> None:
    for kind in KINDS:
        found = kind(correct(30, 40), names(40, 4))
        assert np.isnan([found.low, found.high]).all()
        assert (found.mean, found.method) == (0.75, '')
        assert found.label == 'no CI: 4 groups, fewer than 5'
        assert not kind(correct(30, 40), names(40, 5)).missing
        with pytest.raises(UserError, match='no clips'):
            kind(np.zeros(0))
    assert intervals.proportion(np.array([0.5, 1.0])).label == 'no CI: 2 clips, fewer than 5'
    assert not intervals.proportion(np.array([1.0])).missing  # Exact, whatever the number.


@settings(max_examples=50, deadline=None)
@given(values=FRACTIONS, groups=st.integers(5, 20), order=st.randoms(use_true_random=False))
def test_intervals_contain_the_estimate_and_know_no_order(values: list[float], groups: int, order: object) -> None:
    x, labels = np.array(values), names(len(values), groups)
    shuffled = list(range(len(values)))
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    for kind in KINDS:
        for grouped in (None, labels):
            found = kind(x, grouped)
            if found.missing:
                continue
            assert found.low <= found.mean <= found.high
            assert found.mean == pytest.approx(x.mean())
            assert kind is intervals.mean or (-1 <= found.low < found.high <= 1)
            assert close(found, kind(x[shuffled], None if grouped is None else grouped[shuffled]))
        # One clip in each group, or none named, is as without groups.
        assert close(kind(x), kind(x, names(len(x), len(x))))
        assert close(kind(x), kind(x, np.full(len(x), '')))


def test_turning_a_difference_around_turns_its_interval_around() -> None:
    gain = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 60, p=(0.1, 0.6, 0.3))
    for groups in (None, names(60, 12)):
        one, other = intervals.difference(gain, groups), intervals.difference(-gain, groups)
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low))
    right = correct(50, 60)
    one, other = intervals.proportion(right, names(60, 12)), intervals.proportion(1 - right, names(60, 12))
    assert (one.low, one.high) == pytest.approx((1 - other.high, 1 - other.low))


def test_a_higher_level_is_a_wider_interval_and_says_so() -> None:
    gain = np.random.default_rng(0).choice([-1.0, 0.0, 1.0], 60, p=(0.1, 0.6, 0.3))
    for groups in (None, names(60, 12)):
        usual, sure = intervals.difference(gain, groups), intervals.difference(gain, groups, level=0.99)
        wider = (sure.high - sure.low) / (usual.high - usual.low)
        expected = stats.norm.ppf(0.995) / stats.norm.ppf(0.975)
        assert wider == pytest.approx(expected, rel=0.001 if groups is None else 0.2)
        assert sure.label.startswith('99 % CI, ')


def test_pairs_tell_more_than_each_model_alone() -> None:
    hard = np.random.default_rng(0).random(300)
    first, second = (hard < 0.70).astype(float), (hard < 0.76).astype(float)
    assert intervals.difference(second - first).low > 0
    assert intervals.proportion(second).low < intervals.proportion(first).high


def test_seeds_that_differ_make_an_interval_wider() -> None:
    rng = np.random.default_rng(0)
    alike = (rng.random((1, 200)) < 0.8).astype(float).repeat(3, axis=0)
    apart = np.stack([correct(count, 200) for count in (120, 160, 200)])
    for groups in (None, names(200, 20)):
        same = intervals.proportion(alike, groups)
        assert close(same._replace(method=''), intervals.proportion(alike[0], groups)._replace(method=''), 0.02)
        assert same.method.endswith(', seeds crossed')
        found = intervals.proportion(apart, groups)
        # Student's interval of three seeds is as wide as all.
        assert found.low < 0.4
        assert intervals.difference(apart - alike, groups).low < -0.25


def test_a_mean_has_the_interval_of_student() -> None:
    values = np.array([0.5, 0.6, 0.7])
    expected = stats.t.interval(0.95, 2, values.mean(), stats.sem(values))
    assert intervals.mean(values)[1:3] == pytest.approx(expected)
    x = np.random.default_rng(0).normal(size=(8, 5))
    found = intervals.mean(x.reshape(-1), np.repeat(list('abcdefgh'), 5))
    assert found[1:3] == pytest.approx(stats.t.interval(0.95, 7, x.mean(), stats.sem(x.mean(1))))
    assert found.label == "95 % CI, Student's t by group"
    assert intervals.mean(values[:1]).missing


def test_clips_of_several_targets_count_by_their_number() -> None:
    # Of three targets each; as 300 decisions in 100 clips where they are independent of each other.
    rng = np.random.default_rng(0)
    hits = (rng.random((300, 3)) < 0.8).astype(float)
    found, alone = intervals.proportion(hits.mean(1)), intervals.proportion(hits.reshape(-1))
    assert found.mean == pytest.approx(alone.mean)
    assert found.high - found.low == pytest.approx(alone.high - alone.low, rel=0.1)
    counts = np.array([1.0, 3.0] * 30)
    assert intervals.proportion(correct(30, 60), weights=counts).mean == pytest.approx(counts[:30].sum() / 120)


@pytest.mark.parametrize('clips', [10, 30, 100, 300])
def test_the_exact_coverage_of_independent_clips(clips: int) -> None:
    accuracies = np.linspace(0.5, 0.999, 500)
    count = np.arange(clips + 1)
    found = [intervals.proportion(correct(k, clips)) for k in count]
    low, high = (np.array([getattr(each, end) for each in found]) for end in ('low', 'high'))
    covered = (stats.binom.pmf(count, clips, accuracies[:, None]) * (
        (low <= accuracies[:, None]) & (accuracies[:, None] <= high))).sum(1)
    assert covered.min() > 0.919
    assert 0.94 < covered[accuracies <= 0.99].mean() < 0.97


@pytest.mark.slow
@pytest.mark.parametrize('groups', [5, 12, 20])
@pytest.mark.parametrize('clips', [30, 300])
def test_the_simulated_coverage_of_groups(clips: int, groups: int) -> None:
    rng = np.random.default_rng(0)
    sizes = np.diff(np.linspace(0, clips, groups + 1).astype(int))
    labels = np.repeat([f'g{place}' for place in range(groups)], sizes)
    means = []
    for accuracy in (0.5, 0.8, 0.95, 0.99):
        holds = []
        for _ in range(800):
            counts = rng.binomial(sizes, rng.beta(9 * accuracy, 9 * (1 - accuracy), groups))
            found = intervals.proportion(np.concatenate([
                correct(k, size) for k, size in zip(counts, sizes, strict=True)]), labels)
            holds.append(found.low <= accuracy <= found.high)
        means.append(np.mean(holds))
    assert min(means) > 0.91  # 0.92, less what 800 simulations leave open.
    assert 0.94 < np.mean(means) < 0.985
