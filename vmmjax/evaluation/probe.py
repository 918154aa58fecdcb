"""Probes: how well a target is told by a simple classifier, from features or from the other columns of a catalog.

From features (`classify`) it says what a network has learned; from columns (`leak`) it says what a text or a side
information gives away, so that a model that was to look and listen would not have to. scikit-learn does the work.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from vmmjax import optional
from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import intervals
from vmmjax.evaluation.metrics import chance
from vmmjax.pipeline.tokenizers import hide

KINDS = ('linear', 'svm', 'knn')
_NEIGHBOURS = (10, 20, 100, 200)  # Of which the best is taken, as for the strengths (Caron et al. 2021, appendix F).
_TEMPERATURE = 0.07
# Of the loss, against the penalty on the weights; of equally good ones the first is taken.
_STRENGTHS = tuple(10.0 ** power for power in range(-5, 3))
_TREES = 300
_ITERATIONS = 3000
_FOLDS = 5  # Drawn at random where the catalog has none.
PROTOCOL = ('fold', 'group')  # Catalog columns that say how a model is tested, and nothing of a clip.


class Turn(NamedTuple):
    """Which clips train, validate and test, int64 each."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def turns(labels: Mapping[str, np.ndarray], folds: bool) -> list[Turn]:
    """The catalog's splits, or every turn of cross-validation: a fold tests, the next one validates, the rest train.

    Args:
      labels: catalog columns, (N,) each: `split`, or `fold`.
      folds: whether the folds are meant.

    Raises:
      UserError: where a split or the folds are missing.
    """
    if not folds:
        parts = [np.flatnonzero(labels['split'] == name) for name in ('train', 'validation', 'test')]
        if not all(len(part) for part in parts):
            raise UserError('A probe needs clips in the splits train, validation and test; use the catalog\'s folds '
                            'with --folds where these are few.')
        return [Turn(*parts)]
    if 'fold' not in labels:
        raise UserError('The catalog has no column fold; leave --folds out, or add one to the manifest.')
    values = labels['fold']
    names = sorted(set(values.tolist()) - {''}, key=lambda name: (len(name), name))
    if len(names) < 3:
        raise UserError(f'The catalog has {len(names)} folds; to train, to validate and to test, 3 are needed.')
    found = []
    for i, name in enumerate(names):
        test, validation = values == name, values == names[(i + 1) % len(names)]
        found.append(Turn(*map(np.flatnonzero, (~test & ~validation & (values != ''), validation, test))))
    return found


def classify(x: np.ndarray, target: np.ndarray, labels: Mapping[str, np.ndarray], *, kind: str,
             folds: bool) -> dict[str, Any]:
    """Trains a simple classifier on features and tests it.

    For the linear ones features are standardised by the training clips; the strength C of the loss is the one that is
    best on the validation clips. The nearest neighbours are those of features of length 1, and each votes with
    exp(cosine / .07) (Caron et al. 2021, appendix F); k is chosen likewise. What is tested was trained on both.

    Args:
      x: float (N, D).
      target: text (N,), empty where it is not known.
      labels: catalog columns, see `turns`; with `group` the interval is over groups.
      kind: `linear`, logistic regression; `svm`, a linear support vector machine; `knn`, nearest neighbours.
      folds: whether cross-validation takes the place of the splits.

    Returns:
      Plain JSON values: `kind`, `examples` that were tested, `classes`, `accuracy` with `low`, `high` and `interval`
      (its method, or why both ends are None), `majority` (what always naming the most frequent value gets) and `C`, or
      `k` of neighbours, one a turn.

    Raises:
      UserError: see `turns`, or where there is but one value to learn.
    """
    if not np.isfinite(x).all():
        raise UserError('The features hold NaN or infinity; extract them with an earlier checkpoint.')
    right: list[np.ndarray] = []
    tested: list[np.ndarray] = []
    choices = _NEIGHBOURS if kind == 'knn' else _STRENGTHS
    strengths: list[float] = []
    for turn in turns(labels, folds):
        train, validation, test = (part[target[part] != ''] for part in turn)
        _check_values(target[train])
        scores = [_classifier(kind, strength).fit(x[train], target[train]).score(x[validation], target[validation])
                  for strength in choices] if len(validation) else [1.0]
        strengths.append(choices[int(np.argmax(scores))])
        both = np.concatenate([train, validation])
        model = _classifier(kind, strengths[-1]).fit(x[both], target[both])
        right.append(model.predict(x[test]) == target[test] if len(test) else np.zeros(0, bool))
        tested.append(test)
    return {'kind': kind, **_figures(right, tested, target, labels), 'k' if kind == 'knn' else 'C': strengths}


def leak(columns: Mapping[str, np.ndarray], target: np.ndarray, labels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """How well a random forest tells a target from other columns, by cross-validation.

    Numbers are taken as numbers, short texts as categories. Of a text of several words it is counted which ones are
    there, the target's own value hidden, as a stream of texts hides it. The folds are the catalog's, or 5 of our own,
    with groups kept together.

    Args:
      columns: (N,) texts each, what is looked at.
      target: text (N,), empty where it is not known.
      labels: catalog columns; `fold` and `group` are read.

    Returns:
      Plain JSON values: those of `classify` up to `majority`, `leaks` (whether the interval lies above the majority;
      None without one) and `columns`, each with its share of what the forest looks at, the largest first.

    Raises:
      UserError: where there are no columns, or but one value of the target.
    """
    if not columns:
        raise UserError('There are no columns that could tell the target; name some with --columns.')
    ensemble = optional.load('sklearn.ensemble')
    known = np.flatnonzero(target != '')
    _check_values(target[known])
    parts = {name: _encoded(values[known], target[known]) for name, values in columns.items()}
    x = np.concatenate(list(parts.values()), axis=1)
    right: list[np.ndarray] = []
    tested: list[np.ndarray] = []
    weights = np.zeros(x.shape[1])
    for train, test in _folds(labels, known, target):
        forest = ensemble.RandomForestClassifier(_TREES, random_state=0).fit(x[train], target[known[train]])
        right.append(forest.predict(x[test]) == target[known[test]])
        tested.append(known[test])
        weights += forest.feature_importances_
    ends = np.cumsum([part.shape[1] for part in parts.values()])[:-1]
    shares = {name: float(part.sum() / max(weights.sum(), 1e-12))
              for name, part in zip(parts, np.split(weights, ends), strict=True)}
    figures = _figures(right, tested, target, labels)
    return {**figures, 'leaks': None if figures['low'] is None else figures['low'] > figures['majority'],
            'columns': dict(sorted(shares.items(), key=lambda item: -item[1]))}


def columns_of(labels: Mapping[str, np.ndarray], target: str, chosen: Sequence[str]) -> dict[str, np.ndarray]:
    """The columns that a leak is looked for in.

    Args:
      labels: all catalog columns of labels.
      target: the one that is to be told.
      chosen: names; without any all that say something of a clip: neither `fold` nor `group`, nor names of clips.

    Raises:
      UserError: for a name that is not there, or the target itself.
    """
    for name in chosen:
        if name not in labels:
            raise UserError(f'The catalog has no column {name!r}: {did_you_mean(name, labels)}.')
    if target in chosen:
        raise UserError(f'--columns names the target {target!r} itself; leave it out.')
    if chosen:
        return {name: labels[name] for name in chosen}
    found = {name: values for name, values in labels.items() if name not in (target, *PROTOCOL)}
    return {name: values for name, values in found.items()
            if _is_text(values) or _is_number(values) or len(np.unique(values)) <= len(values) / 2}


def _classifier(kind: str, strength: float) -> Any:
    pipeline, scaling = optional.load('sklearn.pipeline'), optional.load('sklearn.preprocessing')
    if kind == 'knn':
        return _Neighbours(int(strength))
    if kind == 'svm':
        # The dual is unique, and so the result the same each time, where features outnumber clips.
        model = optional.load('sklearn.svm').LinearSVC(C=strength, max_iter=_ITERATIONS, random_state=0, dual='auto')
    elif kind == 'linear':
        model = optional.load('sklearn.linear_model').LogisticRegression(C=strength, max_iter=_ITERATIONS)
    else:
        raise UserError(f'There is no probe {kind!r}: {did_you_mean(kind, KINDS)}.')
    return pipeline.make_pipeline(scaling.StandardScaler(), model)


class _Neighbours:
    """The vote of the k nearest vectors by their cosines, of all where there are fewer."""

    def __init__(self, k: int) -> None:
        self._k = k

    def fit(self, x: np.ndarray, target: np.ndarray) -> Self:
        """Keeps the clips."""
        self._x, (self._values, self._target) = _unit(x), np.unique(target, return_inverse=True)
        return self

    def predict(self, x: np.ndarray) -> np.ndarray:
        """The value with the most votes, the first of equal ones."""
        cosine = _unit(x) @ self._x.T
        nearest = np.argsort(-cosine, axis=1, kind='stable')[:, :self._k]
        votes = np.exp((np.take_along_axis(cosine, nearest, 1) - 1) / _TEMPERATURE)
        counts = np.zeros((len(x), len(self._values)))
        np.add.at(counts, (np.arange(len(x))[:, None], self._target[nearest]), votes)
        found: np.ndarray = self._values[counts.argmax(1)]
        return found

    def score(self, x: np.ndarray, target: np.ndarray) -> float:
        """The share that is told."""
        return float((self.predict(x) == target).mean())


def _unit(x: np.ndarray) -> np.ndarray:
    found: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return found


def _folds(labels: Mapping[str, np.ndarray], known: np.ndarray, target: np.ndarray) -> list[tuple[Any, Any]]:
    """Training and test places among the known rows."""
    if 'fold' in labels and len(set(labels['fold'][known].tolist())) > 1:
        values = labels['fold'][known]
        return [(np.flatnonzero(values != name), np.flatnonzero(values == name)) for name in np.unique(values)]
    selection = optional.load('sklearn.model_selection')
    counts = np.unique(target[known], return_counts=True)[1]
    if counts.max() < _FOLDS:
        raise UserError(f'No value of the target has {_FOLDS} clips, so that none can be learned and tested.')
    groups = labels['group'][known] if 'group' in labels else None
    if groups is not None:
        alone = np.array([f'row {row}' for row in known.tolist()])
        return list(selection.StratifiedGroupKFold(_FOLDS, shuffle=True, random_state=0).split(
            known, target[known], np.where(groups == '', alone, groups)))
    return list(selection.StratifiedKFold(_FOLDS, shuffle=True, random_state=0).split(known, target[known]))


def encoded(columns: Mapping[str, np.ndarray], target: np.ndarray) -> np.ndarray:
    """Columns as numbers, float32 (N, K), see `leak`.

    Args:
      columns: text (N,) each.
      target: text (N,), whose value is hidden in texts of several words.
    """
    return np.concatenate([_encoded(values, target) for values in columns.values()], axis=1)


def _encoded(values: np.ndarray, target: np.ndarray) -> np.ndarray:
    """A column as numbers, float32 (N, K)."""
    if _is_number(values):
        return np.array([[float(value) if value else np.nan] for value in values.tolist()], np.float32)
    texts = values.tolist()
    if _is_text(values):
        texts = [hide(text, answer) for text, answer in zip(texts, target.tolist(), strict=True)]
        counter = optional.load('sklearn.feature_extraction.text').CountVectorizer(
            token_pattern=r'\S+', lowercase=False, binary=True)
        return counter.fit_transform(texts).toarray().astype(np.float32)
    encoder = optional.load('sklearn.preprocessing').OneHotEncoder(handle_unknown='ignore', sparse_output=False)
    return encoder.fit_transform(values[:, None]).astype(np.float32)


def _is_text(values: np.ndarray) -> bool:
    return any(' ' in value.strip() for value in values.tolist())


def _is_number(values: np.ndarray) -> bool:
    filled = [value for value in values.tolist() if value]
    try:
        return bool(filled) and all(np.isfinite(float(value)) for value in filled)
    except ValueError:
        return False


def _check_values(values: np.ndarray) -> None:
    if len(np.unique(values)) < 2:
        raise UserError('A probe needs at least two values of the target among the training clips.')


def _figures(right: Sequence[np.ndarray], tested: Sequence[np.ndarray], target: np.ndarray,
             labels: Mapping[str, np.ndarray]) -> dict[str, Any]:
    rows = np.concatenate(tested)
    if not len(rows):
        raise UserError('No clip that is tested has a value of the target.')
    groups = labels['group'][rows] if 'group' in labels else None
    found = intervals.proportion(np.concatenate(right).astype(np.float64), groups)
    low, high = found.ends
    return {'examples': len(rows), 'classes': len(np.unique(target[target != ''])), 'accuracy': found.mean,
            'low': low, 'high': high, 'interval': found.label,
            'majority': chance(np.unique(target[rows], return_inverse=True)[1], {})['accuracy']}
