"""Predictions clip by clip in a file, and McNemar's test of two of them."""

import dataclasses
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy import special

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.store.store import Store


@dataclasses.dataclass(frozen=True)
class Scores:
    """What a run said of each clip of a split: the content of `<workdir>/eval/<split>.npz`.

    Attributes:
      clip: text (N,), the clips' ids in the catalog; a clip is known by it in runs on other folds or stores.
      group: text (N,), clips of a group are not independent of each other; empty where the catalog names none.
      target: int (N,) by target, -1 where a clip has none; the name is empty where there is one alone.
      scores: subset of the streams -> target -> float (N, C).
      present: stream -> bool (N,), which clips have it.
    """

    clip: np.ndarray
    group: np.ndarray
    target: dict[str, np.ndarray]
    scores: dict[str, dict[str, np.ndarray]]
    present: dict[str, np.ndarray]

    @property
    def are_of_classes(self) -> bool:
        """Whether these are scores of classes, so that each clip is right or wrong."""
        first = next(iter(self.scores.values()), {})
        return bool(self.target) and first.keys() == self.target.keys() and all(
            scores.ndim == 2 and np.issubdtype(self.target[name].dtype, np.integer) and self.target[name].ndim == 1
            for name, scores in first.items())

    def right(self, subset: str, target: str | None = None) -> np.ndarray:
        """Which part of its targets each clip was told rightly, float64 (N,): 0 or 1 where there is one target.

        Args:
          subset: the streams that were given, such as `audio+rgb`; clips without all of them are NaN, but not in the
            first, the subset of all: there each clip is judged with the streams it has.
          target: only this one; clips without it are NaN.
        """
        names, scores = list(self.target) if target is None else [target], self.scores[subset]
        known = np.stack([self.target[name] >= 0 for name in names])
        hits = np.stack([scores[name].argmax(axis=1) == self.target[name] for name in names])
        count = known.sum(0)
        right = np.where(count > 0, (hits & known).sum(0) / np.maximum(count, 1), np.nan)
        if subset == next(iter(self.scores)):
            return right
        return np.where(np.logical_and.reduce([self.present[name] for name in subset.split('+')]), right, np.nan)


def scores_of(predictions: Mapping[str, Any], store: Store) -> Scores:
    """Predictions of a split as they are after `write_scores` and `read_scores`; for the arguments see the former."""
    whole = next(iter(predictions.values()))
    groups = store.values('group')[whole.id] if store.has_values('group') else np.full(len(whole.id), '')
    return Scores(store.values('id')[whole.id], groups, _by_target(whole.target),
                  {subset: _by_target(rows.scores) for subset, rows in predictions.items()}, dict(whole.present))


def write_scores(path: Path, predictions: Mapping[str, Any], store: Store) -> None:
    """Writes the predictions of a split, whole or not at all.

    Args:
      path: ends with `.npz`. Its arrays: `store` (its name), `id` (catalog rows), `clip`, `group`, `target` or
        `target/<name>`, `present/<stream>`, and `scores/<subset>` or `scores/<subset>/<name>`.
      predictions: by subset, all streams first, as `predictions.subsets` gives them: each with `id`, `target`, `scores`
        and `present`, targets and scores in dicts by target where there are several.
      store: the clips'; a catalog column `group` says which of them belong together.
    """
    whole, scores = next(iter(predictions.values())), scores_of(predictions, store)
    arrays = {'store': np.array(store.name), 'id': whole.id, 'clip': scores.clip, 'group': scores.group,
              **_named('target', scores.target)}
    arrays |= {f'present/{stream}': values for stream, values in scores.present.items()}
    for subset, values in scores.scores.items():
        arrays |= _named(f'scores/{subset}', values)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as partial, partial.open('wb') as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _by_target(values: Any) -> dict[str, np.ndarray]:
    return dict(values) if isinstance(values, Mapping) else {'': values}


def _named(name: str, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {f'{name}/{key}' if key else name: array for key, array in values.items()}


def read_scores(path: Path) -> Scores:
    """Reads what `write_scores` wrote.

    Raises:
      UserError: where the file is not there or damaged.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        found = Scores(arrays['clip'], arrays['group'], {}, {}, {})
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise UserError(f'{path} holds no predictions ({error}); delete it and run vmmjax evaluate '
                        f'--workdir={path.parent.parent} --split={path.stem} again.') from error
    for name, values in arrays.items():
        kind, *rest = name.split('/')
        if kind == 'target':
            found.target['/'.join(rest)] = values
        elif kind == 'present':
            found.present['/'.join(rest)] = values
        elif kind == 'scores':
            found.scores.setdefault(rest[0], {})['/'.join(rest[1:])] = values
    return found


def mcnemar(first: np.ndarray, second: np.ndarray) -> float:
    """The exact McNemar test: the probability of so uneven a split where two models are equally good.

    Of the clips that one model alone gets right, each is a fair coin's throw (McNemar 1947; binomial, two-sided). Clips
    are taken to be independent. With groups the p value is too small: go by the interval, `intervals.difference`.

    Args:
      first: bool (N,), which clips one model gets right.
      second: bool (N,), the same of the other.

    Returns:
      The p value; 1 where they are right on the same clips.
    """
    one, other = int((first & ~second).sum()), int((~first & second).sum())
    return min(1.0, float(2 * special.bdtr(min(one, other), one + other, 0.5))) if one + other else 1.0
