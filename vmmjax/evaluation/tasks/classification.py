"""One class of several: of one target, and of several at once."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from vmmjax.data.labels import Classes, Labels
from vmmjax.data.store import Store
from vmmjax.evaluation import averages, evaluate, metrics
from vmmjax.evaluation.evaluate import Predictions, known
from vmmjax.evaluation.tasks.base import COUNT, PERCENT, TEXT, Task, table

_NAMED = 3  # Classes that are named of a clip.


class Classification(Task):
    """One target: accuracy, top-5, the accuracies of the label's parts, a table of the classes, a confusion matrix."""

    name = 'classification'
    averaging: Mapping[str, averages.Average] = {'logits': averages.logits, 'probabilities': averages.probabilities}
    has_parts = True

    def __init__(self, config: Any, store: Store) -> None:
        """See `Task`."""
        super().__init__(config, store)
        self._target: str = config.data.target
        values = store.values(self._target)
        # For every part of the label its value for each class.
        self._parts = {part: metrics.part_classes(values, store.values(part), name=part) for part in config.data.parts}

    @property
    def targets(self) -> str | list[str]:
        """The catalog column."""
        return self._target

    def read_labels(self, config: Any, store: Store) -> Labels:
        """See `Task`."""
        return Classes(store, config.data.target, config.data.augment.flip_pairs)

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`."""
        return {**metrics.summary(rows.scores, rows.target, self._parts),
                'loss': metrics.cross_entropy(rows.scores, rows.target)}

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """See `Task`."""
        return metrics.cross_entropies(rows.scores, rows.target)

    def told(self, rows: Predictions, place: int) -> list[dict[str, Any]]:
        """See `Task`."""
        return [_told(self._target, self.classes, rows.scores[place], int(rows.target[place]))]

    def result(self, predictions: Mapping[str, Predictions], *, split: str, step: int) -> dict[str, Any]:
        """See `evaluate.result`, and for `intervals` `Task.result`."""
        found = evaluate.result(predictions, split=split, step=step, classes=self.classes, parts=self._parts)
        for name, rows in predictions.items():
            has_all = np.logical_and.reduce([rows.present[stream] for stream in name.split('+')])
            found['subsets'][name]['intervals'] = self.intervals(Predictions(
                rows.id[has_all], rows.target[has_all], rows.scores[has_all], {}))
        return found | {'intervals': self.intervals(next(iter(predictions.values())))}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`."""
        return {name: (values, None) for name, values in {
            **metrics.correct(rows.scores, rows.target, self._parts),
            'loss': metrics.cross_entropies(rows.scores, rows.target)}.items()} if len(rows.id) else {}


class Several(Task):
    """Several targets: the accuracy of each, how often all are right, and the rate of wrong ones.

    Of the words of a sentence that is always as long, the rate of wrong targets is the word error rate.
    """

    name = 'classification'
    averaging: Mapping[str, averages.Average] = Classification.averaging

    def read_labels(self, config: Any, store: Store) -> Labels:
        """See `Task`."""
        return Classes(store, config.data.target, config.data.augment.flip_pairs)

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; `accuracy` is the mean of the targets', `loss` the sum of their cross-entropies."""
        right, told = self._right(rows)
        accuracies = {name: float(right[told[:, i], i].mean()) if told[:, i].any() else 0.0
                      for i, name in enumerate(self.classes)}
        everything = told.all(axis=1)
        wrong = 1 - float(right[told].mean())
        loss = sum(metrics.cross_entropy(rows.scores[name][told[:, i]], rows.target[name][told[:, i]])
                   for i, name in enumerate(self.classes) if told[:, i].any())
        return {'accuracy': 1 - wrong, 'all_right': float(right[everything].all(axis=1).mean()) if everything.any()
                else 0.0, 'word_error_rate': wrong, **{f'accuracy_{name}': value for name, value in accuracies.items()},
                'loss': float(loss)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What always naming each target's most frequent class gets."""
        _, told = self._right(rows)
        each = {name: metrics.chance(rows.target[name][told[:, i]], {})['accuracy']
                for i, name in enumerate(self.classes) if told[:, i].any()}
        mean = sum(each[name] * told[:, i].sum() for i, name in enumerate(self.classes) if name in each) / told.sum()
        return {'accuracy': float(mean), 'word_error_rate': float(1 - mean),
                **{f'accuracy_{name}': value for name, value in each.items()}}

    def tables(self, rows: Predictions) -> list[dict[str, Any]]:
        """The targets beside each other."""
        _, told = self._right(rows)
        figures, chance = self.summary(rows), self.chance(rows)
        return [table('Targets', 'Each by its own head; chance is that of the most frequent class.',
                      {'target': TEXT, 'classes': COUNT, 'accuracy': PERCENT, 'chance': PERCENT, 'clips': COUNT},
                      [[name, len(self.classes[name]), figures[f'accuracy_{name}'], chance.get(f'accuracy_{name}'),
                        int(told[:, i].sum())] for i, name in enumerate(self.classes)])]

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`; of `accuracy` the fraction of a clip's targets, weighted by their number."""
        right, told = self._right(rows)
        count = told.sum(axis=1)
        accuracy = np.where(count > 0, (right & told).sum(axis=1) / np.maximum(count, 1), np.nan)
        weights = None if told.all() else count.astype(np.float64)
        return {'accuracy': (accuracy, weights), 'word_error_rate': (1 - accuracy, weights),
                'all_right': (np.where(told.all(axis=1), right.all(axis=1), np.nan), None),
                **{f'accuracy_{name}': (np.where(told[:, i], right[:, i], np.nan), None)
                   for i, name in enumerate(self.classes)}}

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """The sum over the targets that a clip has."""
        found = np.full((len(rows.id), len(self.classes)), np.nan)
        for i, name in enumerate(self.classes):
            there = known(rows.target[name])
            if there.any():
                found[there, i] = metrics.cross_entropies(rows.scores[name][there], rows.target[name][there])
        return np.where(np.isnan(found).all(axis=1), np.nan, np.nansum(found, axis=1))

    def told(self, rows: Predictions, place: int) -> list[dict[str, Any]]:
        """See `Task`."""
        return [_told(name, classes, rows.scores[name][place], int(rows.target[name][place]))
                for name, classes in self.classes.items()]

    def _right(self, rows: Predictions) -> tuple[np.ndarray, np.ndarray]:
        """Which targets are told rightly, and which are known, both bool (N, targets)."""
        for scores in rows.scores.values():
            metrics.check_finite(scores)
        right = [rows.scores[name].argmax(axis=1) == rows.target[name] for name in self.classes]
        return np.stack(right, 1), np.stack([known(rows.target[name]) for name in self.classes], 1)


def _told(target: str, classes: Sequence[str], scores: np.ndarray, truth: int) -> dict[str, Any]:
    """What is said of a clip's class; a truth below 0 is not known."""
    probabilities = special.softmax(scores.astype(np.float64))
    best = np.argsort(-probabilities, kind='stable')[:_NAMED].tolist()
    return {'target': target, 'truth': str(classes[truth]) if truth >= 0 else '',
            'probability': float(probabilities[truth]) if truth >= 0 else None,
            'named': [[str(classes[place]), float(probabilities[place])] for place in best]}
