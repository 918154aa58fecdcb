"""Multi-label classification: any number of labels per clip."""

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import special

from vmmjax import optional
from vmmjax.errors import UserError
from vmmjax.evaluation import metrics, view_averages
from vmmjax.evaluation.predictions import Predictions, truth
from vmmjax.evaluation.result import COUNT, PERCENT, TEXT, table
from vmmjax.pipeline.targets import Names, Targets
from vmmjax.tasks.alarms import Levels, of_windows
from vmmjax.tasks.supervised import Sums, Supervised, of_clips
from vmmjax.training.objective import Batch

if TYPE_CHECKING:
    from vmmjax.store.store import Store

_NEAREST = 1e-6


@dataclasses.dataclass(frozen=True, kw_only=True)
class MultiLabel(Supervised):
    """Binary cross-entropy of `outputs.logits` (B, C) with `batch['target/<target>']` float32 (B, C), mean over labels.

    Rows of NaN are not labelled and weigh nothing.

    Measured by what AudioSet is measured by, mean average precision, AUC and d', and each label's own. Means are over
    the labels that some clip has, and for the AUC some has not. d' is sqrt(2) times the standard normal quantile of the
    mean AUC (Hershey et al. 2017), which is cut off at 1e-6 from 0 and 1.

    Attributes:
      label_smoothing: s; targets y become (1 - s) y + s / C (Szegedy et al. 2016, eq. 7).
    """

    label_smoothing: float = 0.0

    name: ClassVar[str] = 'multi_label'
    averaging: ClassVar[Mapping[str, view_averages.Average]] = {
        'logits': view_averages.logits, 'probabilities': view_averages.chances}
    plain: ClassVar[tuple[str, ...]] = ('d_prime',)
    chance_of: ClassVar[str] = 'share of clips with the name'

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if not isinstance(self.target, str):
            raise UserError('config.task.name is multi_label, which reads one column of names joined by semicolons; '
                            'name one as data.target.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """See `Task`."""
        return Names(store, self.columns[0], self.facts.get('classes'))

    def check(self, config: Any) -> None:
        """Scikit-learn is needed at the end of a training, so it is asked for before."""
        super().check(config)
        optional.load('sklearn.metrics')

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """See `Supervised`; the term is `loss`, the metric `all_right`, how often every name of a clip is told."""
        logits, target = of_clips(logits), batch[f'target/{self.target}']
        known = ~jnp.isnan(target).any(-1)
        target = jnp.where(known[:, None], target, 0)
        weight = mask * known
        wanted = optax.smooth_labels(target, self.label_smoothing)
        loss = optax.sigmoid_binary_cross_entropy(logits, wanted).mean(-1)
        right = ((logits > 0) == (target > 0)).all(-1)
        return ({'loss': ((loss * weight).sum(), weight.sum())},
                {'all_right': ((right * weight).sum(), weight.sum())})

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
                'all_right': float(told.all(axis=1).mean()),
                'loss': float(metrics.binary_cross_entropies(scores, target).mean())}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`; mAP and AUC are no means over clips."""
        target, scores = self._target(rows), rows.scores.astype(np.float64)
        return {'all_right': (((scores > 0) == (target > 0)).all(axis=1).astype(np.float64), None),
                'loss': (metrics.binary_cross_entropies(scores, target).mean(axis=1), None)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """The average precision of a random order is the share of clips with the name."""
        shares = self._target(rows).mean(axis=0)
        return {'mAP': float(shares[shares > 0].mean()) if shares.any() else 0.0, 'AUC': 0.5, 'd_prime': 0.0}

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """Every name's average precision, the lowest first."""
        target = self._target(rows)
        found = [[name, value, float(share), area, int(count)] for name, value, share, area, count in zip(
            self.classes, self._each(rows, 'average_precision_score'), target.mean(axis=0),
            self._each(rows, 'roc_auc_score'), target.sum(axis=0), strict=True)]
        found.sort(key=lambda row: (row[1] is None, row[1]))
        return {'tables': [table(
            'Names', 'Average precision, the lowest first; a name that no clip has cannot be measured.',
            {'name': TEXT, 'AP': PERCENT, 'chance': PERCENT, 'AUC': PERCENT, 'clips': COUNT}, found)]}

    def levels(self, scores: Any) -> dict[str, Levels]:
        """The probability of each name."""
        return of_windows(self.classes, special.expit(scores.astype(np.float64)))

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """The mean over the names."""
        return metrics.binary_cross_entropies(rows.scores.astype(np.float64), self._target(rows)).mean(axis=1)

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """A row for each name that the clip has, then what else is likeliest."""
        metrics.check_finite(rows.scores[place][None])
        (column,), labels = self.columns, truth(rows, self.columns[0], place)
        likely = special.expit(rows.scores[place].astype(np.float64))
        right = np.zeros(len(likely), bool) if labels is None else labels > 0
        found = [{'target': column, 'truth': str(self.classes[i]), 'probability': float(likely[i]), 'named': []}
                 for i in np.flatnonzero(right).tolist()]
        others = [i for i in np.argsort(-likely, kind='stable').tolist() if not right[i]][:most]
        return [*found, {'target': f'not {column}' if found else column, 'truth': '', 'probability': None,
                         'named': [[str(self.classes[i]), float(likely[i])] for i in others]}]

    def _target(self, rows: Predictions) -> np.ndarray:
        (target,) = rows.target.values()
        return target

    def _each(self, rows: Predictions, measure: str) -> list[float | None]:
        """What a function of scikit-learn says of each name; None where no clip has it, of an AUC also where all do."""
        metrics.check_finite(rows.scores)
        measured = getattr(optional.load('sklearn.metrics'), measure)
        return [float(measured(target, scores)) if target.any() and (measure != 'roc_auc_score' or not target.all())
                else None for target, scores in zip(self._target(rows).T, rows.scores.T, strict=True)]
