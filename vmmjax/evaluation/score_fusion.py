"""Scores of several runs on the same clips, added up: how the results of two-stream networks are made."""

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from scipy import special

from vmmjax.errors import UserError
from vmmjax.evaluation import intervals, metrics
from vmmjax.evaluation.intervals import Interval
from vmmjax.evaluation.statistics import Scores, mcnemar, read_scores
from vmmjax.text_table import aligned

FUSED = 'fused'
"""The one subset of streams in fused scores."""
_STEPS = 10  # Of the search: weights are tenths.
_PENALTY = 1e-4  # Of the fit, a squared weight.
_GAIN = 1e-6  # In the mean log-loss; less is none.


def read(paths: Sequence[Path], measured: Scores | None = None) -> list[Scores]:
    """Reads score files of classifiers, all clips in the order of the first file.

    Args:
      paths: of the files.
      measured: of clips that may not be among them, since weights are searched here and measured there.

    Raises:
      UserError: where the files are not of the same clips with the same targets.
    """
    found = [read_scores(path) for path in paths]
    if measured is not None and (shared := set(found[0].clip.tolist()) & set(measured.clip.tolist())):
        raise UserError(f'{len(shared)} clips of {paths[0]} are among those that are measured; search the weights on '
                        f'another split.')
    for path, scores in zip(paths, found, strict=True):
        if not scores.are_of_classes:
            raise UserError(f'{path} holds no scores of classes, so they cannot be fused.')
    return [_aligned(scores, found[0], path, paths[0]) for scores, path in zip(found, paths, strict=True)]


def _aligned(scores: Scores, first: Scores, path: Path, first_path: Path) -> Scores:
    order = {clip: row for row, clip in enumerate(scores.clip.tolist())}
    if order.keys() != set(first.clip.tolist()):
        raise UserError(f'{path} has {len(order)} clips and {first_path} has {len(first.clip)}, and they are not the '
                        f'same; evaluate both runs on one split.')
    rows = [order[clip] for clip in first.clip.tolist()]
    target = {name: values[rows] for name, values in scores.target.items()}
    subset, whole = next(iter(scores.scores.items()))
    if target.keys() != first.target.keys() or any((target[name] != values).any()
                                                   for name, values in first.target.items()):
        raise UserError(f'{path} and {first_path} have other targets for the same clips; their stores name classes '
                        f'differently.')
    return Scores(first.clip, first.group, target, {subset: {name: values[rows] for name, values in whole.items()}}, {})


def fuse(runs: Sequence[Scores], weights: Sequence[float], average: str) -> Scores:
    """The weighted mean of what runs say of each clip, each with all the streams it has.

    Args:
      runs: of the same clips in the same order, see `read`.
      weights: one a run, not negative; only their ratios count.
      average: 'logits', as the released two-stream I3D adds them up, or 'probabilities'.

    Raises:
      UserError: for weights that are not one a run, or runs with different classes.
    """
    if len(weights) != len(runs) or min(weights) < 0 or sum(weights) <= 0:
        raise UserError(f'There are {len(runs)} score files and the weights {", ".join(map(str, weights))}; give one a '
                        f'file, none negative.')
    fused = {}
    for name in runs[0].target:
        parts = _of_target(runs, name)
        parts = parts if average == 'logits' else [special.softmax(part, axis=1) for part in parts]
        fused[name] = np.average(parts, axis=0, weights=weights)
    return Scores(runs[0].clip, runs[0].group, runs[0].target, {FUSED: fused}, {})


def _of_target(runs: Sequence[Scores], name: str) -> list[np.ndarray]:
    """Scores of each run, float64 (N, C), each with all the streams that a clip has."""
    parts = [next(iter(run.scores.values()))[name].astype(np.float64) for run in runs]
    if len({part.shape for part in parts}) > 1:
        raise UserError(f'The runs have different numbers of classes: '
                        f'{", ".join(str(part.shape[1]) for part in parts)}.')
    for part in parts:
        metrics.check_finite(part)
    return parts


def chosen_weights(given: Sequence[str], runs: Sequence[Scores], average: str, tune: Sequence[Path] = ()
                   ) -> tuple[float, ...]:
    """The weights of runs as a user gives them.

    Args:
      given: one number a run, as texts; `fit` or `search` alone; nothing for all the same.
      runs: see `read`.
      average: see `fuse`.
      tune: for `fit` and `search` a score file of another split for each run.

    Raises:
      UserError: for what is none of these, besides what `read` and `fit` raise.
    """
    if list(given) not in (['search'], ['fit']):
        try:
            return tuple(float(text) for text in given) or (1.0,) * len(runs)
        except ValueError as error:
            raise UserError(f'--weights is {",".join(given)} ({error}); give numbers, `fit` or `search`.') from error
    if len(tune) != len(runs):
        raise UserError(f'--weights={given[0]} needs --tune: a score file of another split for each of --fuse.')
    tuned = read(tune, measured=runs[0])
    if given[0] == 'search':
        return search(tuned, average)
    if average != 'logits':
        raise UserError(f'--weights=fit is of logits, not of {average}; leave --average out, or search.')
    return fit(tuned)


def search(runs: Sequence[Scores], average: str) -> tuple[float, ...]:
    """The weights, in tenths, that get most clips right; of equally good ones those nearest to equal weights.

    They are to be searched on other clips than those that are measured: a validation split.
    """
    def quality(weights: tuple[float, ...]) -> tuple[float, float]:
        right = fuse(runs, weights, average).right(FUSED)
        return float(right.mean()), -float(np.var(weights))

    return max(_grid(len(runs)), key=quality)


def fit(runs: Sequence[Scores]) -> tuple[float, ...]:
    """The weights of the runs' logits under which the targets are likeliest; none is negative.

    The mean log-loss of `softmax(sum_k w_k z_k)` is convex in `w` (it is temperature scaling, Guo et al. 2017, section
    4.2, with a temperature for each run), so there is one least value. A small penalty keeps the weights finite where a
    run is right on all clips. Like `search`, it is for another split than the one that is measured.

    Args:
      runs: of the same clips in the same order, see `read`.

    Raises:
      UserError: for runs with different classes, scores that are not finite, clips without a target, and runs of
        which none says more of the targets than that all classes are equally likely.
    """
    from scipy import optimize  # It takes long to import, and no other command fits.

    parts = []
    for name, target in runs[0].target.items():
        if (known := target >= 0).any():
            logits = np.stack(_of_target(runs, name))[:, known]  # (runs, clips, classes)
            parts.append((logits, np.take_along_axis(logits, target[known][None, :, None], 2)[..., 0]))
    if not parts:
        raise UserError('No clip of the files has a target, so no weights can be fitted; name those of another split.')

    def loss(weights: np.ndarray) -> tuple[float, np.ndarray]:
        value, gradient = _PENALTY * float(weights @ weights), 2 * _PENALTY * weights
        for logits, right in parts:
            mixed = np.tensordot(weights, logits, 1)
            value += float((special.logsumexp(mixed, axis=1) - weights @ right).mean())
            expected = (special.softmax(mixed, axis=1) * logits).sum(2)
            gradient = gradient + (expected - right).mean(1)
        return value, gradient

    found = optimize.minimize(loss, np.full(len(runs), 1 / len(runs)), jac=True, bounds=[(0, None)] * len(runs))
    if loss(np.zeros(len(runs)))[0] - found.fun <= _GAIN:
        raise UserError('None of the files tells the classes of these clips better than chance, so that no weights can '
                        'be fitted; name files of trained runs, or give --weights.')
    return tuple(float(weight) for weight in found.x)


def _grid(parts: int) -> Iterator[tuple[float, ...]]:
    for cuts in itertools.combinations_with_replacement(range(_STEPS + 1), parts - 1):
        yield tuple(np.diff([0, *cuts, _STEPS]) / _STEPS)


def table(names: Sequence[str], runs: Sequence[Scores], fused: Scores) -> str:
    """The accuracies of the runs and of the fusion, with confidence intervals, and McNemar's test of it against each.

    Args:
      names: of the runs.
      runs: see `read`.
      fused: by `fuse`.
    """
    ours = fused.right(FUSED)
    accuracy = intervals.proportion(ours, fused.group)
    lines = [_line(FUSED, accuracy, '')]
    for name, run in zip(names, runs, strict=True):
        theirs = run.right(next(iter(run.scores)))
        gain = intervals.difference(ours - theirs, run.group)
        # With several targets a clip counts as right where all are.
        lines.append(_line(name, intervals.proportion(theirs, run.group),
                           f'  fused {100 * gain.mean:+.1f}{_ends(gain, "+.1f")}, '
                           f'McNemar p {mcnemar(ours == 1, theirs == 1):.2g}'))
    notes = dict.fromkeys([f'Accuracies: {accuracy.label}.', f'Differences: {gain.label}.'])
    return '\n'.join([*aligned(lines), *notes])


def _line(name: str, found: Interval, rest: str) -> tuple[str, str]:
    return name, f'{100 * found.mean:5.1f} %{_ends(found, ".1f")}{rest}'


def _ends(found: Interval, form: str) -> str:
    return '' if found.missing else f' ({100 * found.low:{form}} to {100 * found.high:{form}})'
