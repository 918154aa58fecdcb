"""Coverage of 95 % confidence intervals: how often those of `vmmjax.evaluation.intervals` contain the truth.

scripts/bench intervals prints tables for accuracies from 0.5 to 0.99: of independent clips by exact enumeration; of
groups, paired differences and seeds by simulation. The percentile bootstrap stands beside it for comparison.
"""

import argparse
import contextlib
import functools
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import stats

from vmmjax.evaluation import intervals
from vmmjax.evaluation.intervals import Interval
from vmmjax.reports import results_page
from vmmjax.text_table import markdown_lines

PAGE = Path(__file__).resolve().parents[2] / 'experiments' / 'results' / 'intervals.md'
CLIPS = (30, 100, 300)
GROUPS = (5, 8, 12, 20)
ACCURACIES = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.97, 0.99)
_RESAMPLES = 400


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog='scripts/bench intervals', description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--simulations', type=int, default=4000, help='Data sets of each cell.')
    parser.add_argument('--correlation', type=float, default=0.1, help='Intraclass correlation within groups.')
    parser.add_argument('--uneven', action='store_true', help='Groups of unequal sizes, the largest first.')
    parser.add_argument('--write', action='store_true', help='Put the tables into experiments/results/intervals.md.')
    options = parser.parse_args()
    if not options.write:
        tables(options)
        return
    with contextlib.redirect_stdout(io.StringIO()) as told:
        tables(options)
    results_page.insert(PAGE, f'{results_page.machine(("numpy", "scipy"))}.', told.getvalue().strip())


def tables(options: argparse.Namespace) -> None:
    """Prints them."""
    rng = np.random.default_rng(0)
    print('Independent clips, exact, accuracies 0.500 to 0.990 by steps of 0.001\n')
    _print(('clips', 'method', 'mean', 'lowest', 'at'), _independent())
    sizes = 'unequal' if options.uneven else 'equal'
    print(f'\nGroups of {sizes} size, intraclass correlation {options.correlation:g}, '
          f'{options.simulations} simulations of each accuracy\n')
    _print(('clips', 'groups', 'method', 'mean', 'lowest', *map(str, ACCURACIES)),
           _grouped(rng, options.simulations, options.correlation, options.uneven))
    print('\nPaired differences of two models, 0 to 5 points apart, and accuracy over seeds; latent normal effects\n')
    _print(('clips', 'groups', 'seeds', 'of', 'mean', 'lowest', *map(str, ACCURACIES)),
           _effects(rng, options.simulations))


def _independent() -> Iterator[tuple[str, ...]]:
    accuracies = np.linspace(0.5, 0.99, 491)
    for clips in CLIPS:
        correct = np.arange(clips + 1)
        chances = stats.binom.pmf(correct, clips, accuracies[:, None])
        found = [intervals.proportion((np.arange(clips) < count).astype(float)) for count in correct]
        # The mean of a resample is a binomial fraction.
        resampled = [Interval(count / clips, *(stats.binom.ppf((0.025, 0.975), clips, count / clips) / clips))
                     for count in correct]
        for method, each in (('Wilson', found), ('bootstrap', resampled)):
            low, high = (np.array([getattr(one, end) for one in each]) for end in ('low', 'high'))
            covered = (chances * ((low <= accuracies[:, None]) & (accuracies[:, None] <= high))).sum(1)
            yield (str(clips), method, _percent(covered.mean()), _percent(covered.min()),
                   f'{accuracies[covered.argmin()]:.3f}')


def _grouped(rng: np.random.Generator, simulations: int, correlation: float, uneven: bool) -> Iterator[tuple[str, ...]]:
    overall = []
    for clips in CLIPS:
        for groups in GROUPS:
            sizes = _sizes(clips, groups, uneven)
            names = np.repeat([f'g{place}' for place in range(groups)], sizes)
            covered: dict[str, list[float]] = {'Korn-Graubard': [], 'bootstrap': []}

            @functools.cache  # Few clips are often correct in the same numbers.
            def interval(row: tuple[int, ...], sizes: np.ndarray = sizes, names: np.ndarray = names) -> Interval:
                return intervals.proportion(_clips(np.array(row), sizes), names)

            for accuracy in ACCURACIES:
                counts = _counts(rng, sizes, accuracy, correlation, simulations)
                covered['Korn-Graubard'].append(_coverage(accuracy, (interval(tuple(row)) for row in counts.tolist())))
                covered['bootstrap'].append(_coverage(accuracy, _bootstrap(rng, counts, sizes)))
            overall.append(covered['Korn-Graubard'])
            for method, values in covered.items():
                yield str(clips), str(groups), method, *_row(values)
    yield 'all', 'all', 'Korn-Graubard', *_row(np.mean(overall, 0).tolist(), np.min(overall))


def _sizes(clips: int, groups: int, uneven: bool) -> np.ndarray:
    weights = 1 / np.arange(1, groups + 1) ** (0.8 if uneven else 0)
    sizes = np.maximum(1, (clips * weights / weights.sum()).astype(int))
    spare = clips - sizes.sum()
    sizes += (np.arange(groups) < spare) if spare >= 0 else 0
    sizes[0] += clips - sizes.sum()
    return sizes


def _counts(rng: np.random.Generator, sizes: np.ndarray, accuracy: float, correlation: float, simulations: int
            ) -> np.ndarray:
    """Correct clips of each group, int (simulations, groups): beta-binomial."""
    if not correlation:
        return rng.binomial(sizes, accuracy, (simulations, len(sizes)))
    total = (1 - correlation) / correlation
    return rng.binomial(sizes, rng.beta(accuracy * total, (1 - accuracy) * total, (simulations, len(sizes))))


def _clips(counts: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    return np.concatenate([np.arange(size) < count for count, size in zip(counts, sizes, strict=True)]).astype(float)


def _bootstrap(rng: np.random.Generator, counts: np.ndarray, sizes: np.ndarray) -> Iterator[Interval]:
    """Percentiles of the accuracies of resampled groups."""
    for row in counts:
        drawn = rng.integers(len(sizes), size=(_RESAMPLES, len(sizes)))
        means = row[drawn].sum(1) / sizes[drawn].sum(1)
        yield Interval(float(row.sum() / sizes.sum()), *np.quantile(means, (0.025, 0.975)).tolist())


def _effects(rng: np.random.Generator, simulations: int) -> Iterator[tuple[str, ...]]:
    """Clips that are correct where a sum of normal effects, of variance 1, lies below a quantile."""
    for clips, groups, seeds in ((100, 0, 1), (300, 0, 1), (100, 5, 1), (100, 12, 1), (300, 20, 1), (100, 0, 3),
                                 (100, 12, 3), (300, 20, 3), (300, 12, 5)):
        names = np.array([f'g{place % groups}' for place in range(clips)]) if groups else None
        cases: dict[str, Callable[[float], float]] = {
            'difference': lambda accuracy, n=clips, g=names, s=seeds: _differences(rng, simulations, accuracy, n, g, s)}
        if seeds > 1:
            cases['accuracy'] = lambda accuracy, n=clips, g=names, s=seeds: _coverage(accuracy, (
                intervals.proportion(_effect(rng, [accuracy], n, g, s)[0], g) for _ in range(simulations)))
        for name, case in cases.items():
            yield str(clips), str(groups or 'none'), str(seeds), name, *_row([case(each) for each in ACCURACIES])


def _differences(rng: np.random.Generator, simulations: int, accuracy: float, clips: int, groups: np.ndarray | None,
                 seeds: int) -> float:
    gap = min(0.05, (1 - accuracy) / 2)
    covered = []
    for other in (accuracy, accuracy - gap):
        pairs = (_effect(rng, [accuracy, other], clips, groups, seeds) for _ in range(simulations // 2))
        covered.append(_coverage(accuracy - other, (intervals.difference(one - two, groups) for one, two in pairs)))
    return float(np.mean(covered))


def _effect(rng: np.random.Generator, accuracies: Sequence[float], clips: int, groups: np.ndarray | None, seeds: int
            ) -> list[np.ndarray]:
    """Of each model, float (S, N): the variance is half the clip's, a fifth the group's, a twentieth the seed's."""
    places = np.arange(clips) if groups is None else np.unique(groups, return_inverse=True)[1]
    count = int(places.max()) + 1
    shares = {'clip': 0.5, 'group': 0.1, 'group of model': 0.1, 'seed': 0.05 * (seeds > 1)}
    rest = 1 - sum(shares.values())
    scale = {name: share ** 0.5 for name, share in shares.items()}
    difficulty = scale['clip'] * rng.standard_normal(clips) + scale['group'] * rng.standard_normal(count)[places]
    found = []
    for accuracy in accuracies:
        latent = (difficulty + scale['group of model'] * rng.standard_normal(count)[places]
                  + scale['seed'] * rng.standard_normal((seeds, 1)) + rest ** 0.5 * rng.standard_normal((seeds, clips)))
        found.append((latent < stats.norm.ppf(accuracy)).astype(float))
    return [each[0] if seeds == 1 else each for each in found]


def _coverage(truth: float, found: Iterator[Interval]) -> float:
    return float(np.mean([one.low - 1e-12 <= truth <= one.high + 1e-12 for one in found]))


def _row(covered: Sequence[float], lowest: float | None = None) -> tuple[str, ...]:
    return (_percent(np.mean(covered)), _percent(min(covered) if lowest is None else lowest), *map(_percent, covered))


def _percent(value: float) -> str:
    return f'{100 * value:.1f}'


def _print(header: Sequence[str], rows: Iterator[tuple[str, ...]]) -> None:
    for line in markdown_lines(header, rows):
        print(line, flush=True)


if __name__ == '__main__':
    main()
