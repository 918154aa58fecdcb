"""Confidence intervals of means over clips, which may come in groups and be measured with several seeds.

`proportion` is for accuracies and other fractions, `difference` for two models on the same clips, `mean` for anything
without bounds. `scripts/bench intervals` prints how often they contain the truth.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import numpy as np
from scipy import special

from vmmjax.errors import UserError

LEVEL = 0.95
FEWEST_GROUPS = 5
"""With fewer groups the variance between them is not known well enough for any interval."""

# Intraclass correlation of clips of one group, before any is seen: its mean, for what is correct and for differences
# of two models, in which what makes a group hard cancels; its standard deviation.
_CORRELATION, _CORRELATION_OF_DIFFERENCES, _CORRELATION_DEVIATION = 0.1, 0.05, 0.15
_FEW = 3  # So few errors, or so few correct clips, get Poisson's bound.
_MOST_DECISIONS = 10  # Yes-or-no decisions that a clip counts as at most, where it is measured several times.


class Interval(NamedTuple):
    """A mean and its confidence interval.

    Attributes:
      mean: the estimate.
      low: lower end; NaN where there is no interval.
      high: upper end; likewise.
      method: of the interval, such as `Korn-Graubard`; empty where there is none.
      missing: why there is no interval; empty where there is one.
      level: how often such an interval contains the truth.
    """

    mean: float
    low: float
    high: float
    method: str = ''
    missing: str = ''
    level: float = LEVEL

    @property
    def ends(self) -> tuple[float, float] | tuple[None, None]:
        """Lower and upper end; None where there is no interval, as JSON has it."""
        return (None, None) if self.missing else (self.low, self.high)

    @property
    def label(self) -> str:
        """What stands beside the ends: the level and the method, or why there is no interval."""
        return f'{100 * self.level:.3g} % CI, {self.method}' if not self.missing else f'no CI: {self.missing}'


def proportion(values: np.ndarray, groups: np.ndarray | None = None, weights: np.ndarray | None = None
               ) -> Interval:
    """The interval of a fraction, such as an accuracy.

    Of independent clips that are correct or not it is Wilson's, its end next to 0 or 1 moved out where at most 3 clips
    are wrong, or correct (Brown, Cai and DasGupta 2001, section 4.1.1): it covers 95 % on average and at least 92.

    With groups it is Wilson's interval of the effective number of clips (Korn and Graubard 1998): the number of
    independent clips whose accuracy would vary as much, reduced by the ratio of the quantiles of Student's t and of the
    normal distribution. In two things it differs from that paper, whose interval covers 99 % of 30 clips in 5 groups
    and 87 % where few of 300 are wrong. The paper takes Clopper and Pearson's interval, and it estimates the design
    effect from these groups alone. Here the estimate is moderated, as Smyth (2004, section 4) does with variances: it
    is averaged, by degrees of freedom, with the design effect of an intraclass correlation of 0.1, whose degrees of
    freedom follow from a standard deviation of that correlation of 0.15. With 5 to 20 groups it covers at least 92 %,
    and 95 to 98 on average, where that correlation is 0.1; up to 100 with 5 groups of 60 clips where it is 0; as little
    as 90 where it is 0.2.

    With several seeds the variance between them, groups and seeds being crossed, adds to it: the interval is about the
    method trained anew and tested on other groups, not about the networks at hand.

    Args:
      values: float (N,), of each clip from 0 to 1; or (S, N), the same clips with S seeds.
      groups: text (N,), equal for clips that depend on each other; empty for one on its own. None: each is on its own.
      weights: float (N,), of the clips in the mean, such as the number of targets; None: all the same.

    Raises:
      UserError: where there are no clips.
    """
    sample = _sample(values, groups, weights)
    mean, variance = min(max(sample.mean, 0.0), 1.0), sample.mean * (1 - sample.mean)
    binary = sample.seeds == 1 and bool(np.isin(values, (0, 1)).all()) and weights is None
    if missing := sample.too_few(binary):
        return _none(mean, missing)
    # Independent yes-or-no decisions that the clips are worth were they independent: themselves, if binary.
    decisions = sample.number
    if not binary and variance > 0:
        decisions *= min(_MOST_DECISIONS, variance / max(sample.number * sample.clip_variance, 1e-12))
    errors = decisions * min(mean, 1 - mean)
    number = decisions * sample.effective(errors, binary, _CORRELATION) / sample.number
    if variance > 0:
        number = variance / (variance / number + sample.seed_variance)
    low, high = (_wilson_low(share, number, sample.independent) for share in (mean, 1 - mean))
    return Interval(mean, low, 1 - high, sample.named('Wilson', 'Korn-Graubard'))


def difference(values: np.ndarray, groups: np.ndarray | None = None, weights: np.ndarray | None = None, *,
               level: float = LEVEL) -> Interval:
    """The interval of a mean paired difference of fractions, such as that of two models' accuracies on the same clips.

    Bonett and Price's (2012) with one clip more for each side; two models that never disagree get one of some width,
    too. With groups it is taken of the effective number of clips, and with seeds the variance between them adds to it:
    see `proportion`.

    Args:
      values: float (N,), the differences of the clips, from -1 to 1; or (S, N), with S seeds, each paired with itself.
      groups: as of `proportion`.
      weights: as of `proportion`.
      level: of the interval, 0 to 1; of several comparisons that are made at once 1 - 0.05 / k (Bonferroni).

    Raises:
      UserError: where there are no clips.
    """
    sample = _sample(values, groups, weights, level)
    binary = sample.seeds == 1 and bool(np.isin(values, (-1, 0, 1)).all()) and weights is None
    if missing := sample.too_few(binary):
        return _none(sample.mean, missing)
    square = sample.number * sample.clip_variance + sample.mean ** 2
    number = sample.effective(sample.number * square, binary, _CORRELATION_OF_DIFFERENCES)
    centre = number * sample.mean / (number + 2)
    variance = ((number * square + 2) / (number + 2) - centre ** 2) / (number + 2) + sample.seed_variance
    half = _normal(level) * variance ** 0.5
    return Interval(sample.mean, max(-1.0, centre - half), min(1.0, centre + half),
                    sample.named('Bonett-Price', 'Bonett-Price on the effective number'), level=level)


def mean(values: np.ndarray, groups: np.ndarray | None = None) -> Interval:
    """The interval of the mean of numbers without bounds, such as losses: Student's t, with groups of their totals.

    It covers less than it says where a few clips carry most of the mean.

    Args:
      values: float (N,).
      groups: as of `proportion`.

    Raises:
      UserError: where there are no clips.
    """
    sample = _sample(np.asarray(values).reshape(-1), groups, None)
    if missing := sample.too_few(binary=sample.independent and len(values) > 1):
        return _none(sample.mean, missing)
    half = float(special.stdtrit(sample.groups - 1, (1 + LEVEL) / 2) * sample.group_variance ** 0.5)
    return Interval(sample.mean, sample.mean - half, sample.mean + half,
                    sample.named("Student's t", "Student's t by group"))


def of_metrics(metrics: Mapping[str, tuple[np.ndarray, np.ndarray | None]], groups: np.ndarray | None,
               unbounded: Collection[str]) -> dict[str, dict[str, Any]]:
    """The intervals of metrics that are means over clips, as a `Result` keeps them.

    Args:
      metrics: by name the value of each clip, float (N,), NaN where it has none, and its weight, see `Task.per_clip`.
      groups: as of `proportion`.
      unbounded: those that are no fractions.

    Returns:
      Of each metric that some clip has `low` and `high`, None where there is no interval, and `label`.
    """
    found = {}
    for name, (values, weights) in metrics.items():
        there = np.isfinite(values)
        if not there.any():
            continue
        own = None if groups is None else groups[there]
        if name in unbounded:
            interval = mean(values[there], own)
        else:
            interval = proportion(values[there], own, None if weights is None else weights[there])
        low, high = interval.ends
        found[name] = {'low': low, 'high': high, 'label': interval.label}
    return found


class _Sample(NamedTuple):
    """A mean over clips, and what its variance is made of.

    Attributes:
      mean: over clips and seeds.
      number: of clips, (sum w)^2 / sum w^2.
      size: clips of the group of a clip, in the mean over clips.
      groups: how many; of independent clips how many clips.
      seeds: how many.
      independent: whether no two clips are of one group.
      clip_variance: of the mean, if clips were independent of each other.
      group_variance: of the mean, by group totals.
      between_seeds: variance of the mean that seeds bring in, beyond groups; at least 0.
      level: of the interval that is wanted.
    """

    mean: float
    number: float
    size: float
    groups: int
    seeds: int
    independent: bool
    clip_variance: float
    group_variance: float
    between_seeds: float
    level: float

    def too_few(self, binary: bool) -> str:
        """Why there is no interval; empty where there is one."""
        if self.groups >= FEWEST_GROUPS or (self.independent and binary):
            return ''
        return f'{self.groups} {"clips" if self.independent else "groups"}, fewer than {FEWEST_GROUPS}'

    def effective(self, events: float, binary: bool, correlation: float) -> float:
        """The effective number of clips, from that of the groups to that of the clips; see `proportion`.

        Args:
          events: clips that tell of the variance: those that are wrong, or on which two models differ.
          binary: whether each clip has one of two or three values, so that its variance follows from the mean.
          correlation: of the clips of a group, before any is seen.
        """
        if self.independent:
            return self.number * (1.0 if binary else self._ratio(self.groups - 1))
        prior = 1 + (self.size - 1) * correlation
        prior_freedom = 2 * (prior / ((self.size - 1) * _CORRELATION_DEVIATION)) ** 2
        # Rare errors tell little of a variance: its relative variance is 2 / (G - 1), and 1 an event more.
        freedom = 2 / (2 / (self.groups - 1) + prior / events) if events > 0 and self.clip_variance > 0 else 0.0
        estimate = self.group_variance / self.clip_variance if freedom else prior
        effect = (freedom * estimate + prior_freedom * prior) / (freedom + prior_freedom)
        ratio = self._ratio(max(freedom + prior_freedom, self.groups - 1))
        # If all clips of a group are alike, groups are independent clips: there are no fewer than that.
        return float(np.clip(self.number / effect * ratio, self.number / self.size, self.number))

    @property
    def seed_variance(self) -> float:
        """That between seeds, larger by the quantile of Student's t."""
        return self.between_seeds / self._ratio(self.seeds - 1) if self.between_seeds > 0 else 0.0

    def _ratio(self, freedom: float) -> float:
        """The squared ratio of the normal quantile to Student's."""
        return float((_normal(self.level) / special.stdtrit(freedom, (1 + self.level) / 2)) ** 2)

    def named(self, alone: str, grouped: str) -> str:
        """The method's name."""
        return (alone if self.independent else grouped) + ', seeds crossed' * (self.seeds > 1)


def _sample(values: np.ndarray, groups: np.ndarray | None, weights: np.ndarray | None, level: float = LEVEL) -> _Sample:
    x = np.atleast_2d(np.asarray(values, np.float64))
    if not x.size:
        raise UserError('There are no clips to give a confidence interval of.')
    seeds, clips = x.shape
    share = np.full(clips, 1 / clips) if weights is None else weights / np.sum(weights)
    estimate = float((x.mean(0) * share).sum())
    errors = (x - estimate) * share  # What each clip, with each seed, adds to the error of the mean.
    places = _places(groups, clips)
    count = int(places.max()) + 1
    by_group = np.stack([np.bincount(places, row, count) for row in errors])
    freedom = max(count - 1, 1)
    between = 0.0
    if seeds > 1:
        by_seed = by_group.sum(1)
        rest = count * (by_group - by_group.mean(0)) - by_seed[:, None]
        between = (by_seed ** 2).sum() / (seeds * (seeds - 1)) - (
            rest ** 2).sum() / ((seeds - 1) * freedom * seeds * count)
    squares = float((share ** 2).sum())
    return _Sample(
        estimate, 1 / squares, float((np.bincount(places, share) ** 2).sum() / squares), count, seeds, count == clips,
        float((errors.mean(0) ** 2).sum()), float(count / freedom * (by_group.mean(0) ** 2).sum()),
        max(0.0, float(between)), level)


def _places(groups: np.ndarray | None, clips: int) -> np.ndarray:
    """The number of each clip's group, int (N,), from 0; a clip on its own is one."""
    if groups is None:
        return np.arange(clips)
    names = np.asarray(groups)
    alone = names == ''
    places = np.empty(clips, np.int64)
    named, places[~alone] = np.unique(names[~alone], return_inverse=True)
    places[alone] = len(named) + np.arange(int(alone.sum()))
    return places


def _wilson_low(share: float, number: float, bounded: bool) -> float:
    """The lower end for a fraction of a number of clips that need not be whole; with Poisson's bound for few."""
    z, count = _normal(LEVEL), share * number
    if count <= 0:
        return 0.0
    centre = share + z * z / (2 * number)
    low = (centre - z * (share * (1 - share) / number + (z / (2 * number)) ** 2) ** 0.5) / (1 + z * z / number)
    if bounded and count <= _FEW + 1e-9:
        low = min(low, special.gammaincinv(count, 1 - LEVEL) / number)
    return float(low)


def _normal(level: float) -> float:
    """The normal quantile at the upper end of an interval."""
    return float(special.ndtri((1 + level) / 2))


def _none(estimate: float, missing: str) -> Interval:
    return Interval(estimate, float('nan'), float('nan'), missing=missing)
