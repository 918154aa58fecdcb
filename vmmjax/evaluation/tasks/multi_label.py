"""Any number of names a clip."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from scipy import special

from vmmjax.data.labels import Labels, Names
from vmmjax.data.store import Store
from vmmjax.errors import UserError
from vmmjax.evaluation import averages, extra, metrics
from vmmjax.evaluation.evaluate import Predictions
from vmmjax.evaluation.tasks.base import COUNT, PERCENT, TEXT, Task, table

_NEAREST = 1e-6
_NAMED = 3  # Names, beside the right ones, that are told of a clip.


class MultiLabel(Task):
    """What AudioSet is measured by, mean average precision, AUC and d', and each name's own.

    Means are over the names that some clip has, and for the AUC some has not. d' is sqrt(2) times the standard normal
    quantile of the mean AUC (Hershey et al. 2017), which is cut off at 1e-6 from 0 and 1.
    """

    name = 'multi_label'
    averaging: Mapping[str, averages.Average] = {'logits': averages.logits, 'probabilities': averages.chances}
    plain = ('d_prime',)
    chance_of = 'share of clips with the name'

    def __init__(self, config: Any, store: Store) -> None:
        """See `Task`."""
        if not isinstance(config.data.target, str):
            raise UserError('config.task.name is multi_label, which reads one column of names joined by semicolons; '
                            'name one as data.target.')
        self._sklearn = extra.load('sklearn.metrics')  # Before a training begins that needs it at its end.
        super().__init__(config, store)

    def read_labels(self, config: Any, store: Store) -> Labels:
        """See `Task`."""
        return Names(store, config.data.target)

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; `all_right` counts names of a probability above one half as told."""
        target = self._target(rows)
        scores = rows.scores.astype(np.float64)
        precisions, areas = ([value for value in self._each(rows, measure) if value is not None]
                             for measure in ('average_precision_score', 'roc_auc_score'))
        area = float(np.mean(areas)) if areas else 0.5
        told = (scores > 0) == (target > 0)
        return {'mAP': float(np.mean(precisions)) if precisions else 0.0, 'AUC': area,
                'd_prime': float(2 ** 0.5 * special.ndtri(np.clip(area, _NEAREST, 1 - _NEAREST))),
                'all_right': float(told.all(axis=1).mean()), 'loss': float(_entropies(scores, target).mean())}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`; mAP and AUC are no means over clips."""
        target, scores = self._target(rows), rows.scores.astype(np.float64)
        return {'all_right': (((scores > 0) == (target > 0)).all(axis=1).astype(np.float64), None),
                'loss': (_entropies(scores, target).mean(axis=1), None)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """The average precision of a random order is the share of clips with the name."""
        shares = self._target(rows).mean(axis=0)
        return {'mAP': float(shares[shares > 0].mean()) if shares.any() else 0.0, 'AUC': 0.5, 'd_prime': 0.0}

    def tables(self, rows: Predictions) -> list[dict[str, Any]]:
        """Every name's average precision, the lowest first."""
        target = self._target(rows)
        found = [[name, value, float(share), area, int(count)] for name, value, share, area, count in zip(
            self.classes, self._each(rows, 'average_precision_score'), target.mean(axis=0),
            self._each(rows, 'roc_auc_score'), target.sum(axis=0), strict=True)]
        found.sort(key=lambda row: (row[1] is None, row[1]))
        return [table('Names', 'Average precision, the lowest first; a name that no clip has cannot be measured.',
                      {'name': TEXT, 'AP': PERCENT, 'chance': PERCENT, 'AUC': PERCENT, 'clips': COUNT}, found)]

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """The mean over the names."""
        return _entropies(rows.scores.astype(np.float64), self._target(rows)).mean(axis=1)

    def told(self, rows: Predictions, place: int) -> list[dict[str, Any]]:
        """A row for each name that the clip has, then what else is likeliest."""
        (column,) = rows.target
        likely, right = special.expit(rows.scores[place].astype(np.float64)), self._target(rows)[place] > 0
        found = [{'target': column, 'truth': str(self.classes[i]), 'probability': float(likely[i]), 'named': []}
                 for i in np.flatnonzero(right).tolist()]
        others = [i for i in np.argsort(-likely, kind='stable').tolist() if not right[i]][:_NAMED]
        return [*found, {'target': f'not {column}', 'truth': '', 'probability': None,
                         'named': [[str(self.classes[i]), float(likely[i])] for i in others]}]

    def _target(self, rows: Predictions) -> np.ndarray:
        (target,) = rows.target.values()
        return target

    def _each(self, rows: Predictions, measure: str) -> list[float | None]:
        """What a function of scikit-learn says of each name; None where no clip has it, of an AUC also where all do."""
        metrics.check_finite(rows.scores)
        measured = getattr(self._sklearn, measure)
        return [float(measured(target, scores)) if target.any() and (measure != 'roc_auc_score' or not target.all())
                else None for target, scores in zip(self._target(rows).T, rows.scores.T, strict=True)]


def _entropies(scores: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The cross-entropy of each name of each clip in nats, float64 (N, C)."""
    return np.maximum(scores, 0) - scores * target + np.log1p(np.exp(-np.abs(scores)))
