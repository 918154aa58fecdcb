"""Scores of another framework, measured beside those of our runs on the same clips."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vmmjax.errors import UserError
from vmmjax.evaluation import intervals, metrics
from vmmjax.evaluation.intervals import Interval
from vmmjax.evaluation.result import read
from vmmjax.evaluation.score_fusion import read as read_runs
from vmmjax.evaluation.statistics import Scores
from vmmjax.text_table import aligned


def table(paths: Sequence[Path], against: Sequence[Path]) -> str:
    """Accuracy and class accuracy of both with confidence intervals over seeds and groups, and the paired difference.

    Args:
      paths: of `.npz` files, one a seed: `clip` text (N,), `scores` float (N, C) and, optionally, `classes` text (C,),
        which our classes are looked up in.
      against: score files of our runs, one a seed, see `statistics.write_scores`; they have the targets.

    Raises:
      UserError: where the clips or the classes are not the same, or a score is not finite.
    """
    runs = read_runs(against)
    if list(runs[0].target) != ['']:
        raise UserError(f'{against[0]} has several targets ({", ".join(runs[0].target)}); scores of another framework '
                        f'are compared on one.')
    target, groups = runs[0].target[''], runs[0].group
    known = target >= 0
    ours = [next(iter(run.scores.values()))[''] for run in runs]
    theirs = [_aligned(path, runs[0], against[0], ours[0].shape[1]) for path in paths]
    right, lines, notes = [], [], []
    for name, seeds in (('theirs', theirs), ('ours', ours)):
        right.append(np.stack([scores[known].argmax(1) == target[known] for scores in seeds]).astype(np.float64))
        found = intervals.proportion(right[-1], groups[known])
        recall = np.mean([metrics.summary(scores[known], target[known], {})['class_accuracy'] for scores in seeds])
        lines.append([name, str(len(seeds)), str(int(known.sum())), f'{100 * found.mean:.1f}', _ends(found, '.1f'),
                      f'{100 * recall:.1f}'])
        notes.append(f'{found.label} ({name})')
    # With as many seeds they are pairs; else the means over seeds are compared.
    pairs = right if len(theirs) == len(ours) else [each.mean(0, keepdims=True) for each in right]
    gain = intervals.difference(pairs[0] - pairs[1], groups[known])
    header = ['', 'seeds', 'clips', 'accuracy', 'interval', 'class accuracy']
    return '\n'.join([*aligned([header, *lines], '<>'),
                      f'theirs - ours: {100 * gain.mean:+.1f} points {_ends(gain, "+.1f")} ({gain.label})',
                      f'Accuracies: {"; ".join(notes)}.'])


def _aligned(path: Path, ours: Scores, our_path: Path, classes: int) -> np.ndarray:
    """The scores of a file with rows and classes in our order, float64 (N, C)."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        clips, scores = arrays['clip'].astype(np.str_), np.asarray(arrays['scores'], np.float64)
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f'{path} holds no scores ({error}): write an .npz file with clip, text (N,), and scores, float '
                        f'(N, C).') from error
    order = {clip: row for row, clip in enumerate(clips.tolist())}
    if scores.shape != (len(clips), classes) or len(order) != len(clips):
        raise UserError(f'{path} has clips of shape {clips.shape}, {len(order)} of them distinct, and scores of shape '
                        f'{scores.shape}; ({len(clips)}, {classes}) and a row a clip are needed.')
    if missing := [clip for clip in ours.clip.tolist() if clip not in order]:
        raise UserError(f'{path} lacks {len(missing)} of the {len(ours.clip)} clips of {our_path}, such as '
                        f'{missing[0]!r}.')
    scores = scores[[order[clip] for clip in ours.clip.tolist()]]
    metrics.check_finite(scores)
    if 'classes' in arrays:
        names, wanted = arrays['classes'].astype(np.str_).tolist(), read(our_path.with_suffix('.json')).classes
        if sorted(names) != sorted(wanted):
            raise UserError(f'{path} has other classes than {our_path}: {", ".join(sorted({*names} ^ {*wanted})[:5])} '
                            f'stand in one alone.')
        scores = scores[:, [names.index(name) for name in wanted]]
    return scores


def _ends(found: Interval, form: str) -> str:
    return '' if found.missing else f'{100 * found.low:{form}} to {100 * found.high:{form}}'
