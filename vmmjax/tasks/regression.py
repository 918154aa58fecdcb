"""Scalar regression, one or more targets."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.evaluation import metrics
from vmmjax.evaluation.predictions import Predictions, known, truth
from vmmjax.evaluation.result import COUNT, NUMBER, TEXT, table
from vmmjax.pipeline.targets import Numbers, Targets, of_split
from vmmjax.tasks.alarms import Levels, Rules, of_windows
from vmmjax.tasks.supervised import Sums, Supervised, of_clips
from vmmjax.training.objective import Batch

if TYPE_CHECKING:
    from vmmjax.store.store import Store


@dataclasses.dataclass(frozen=True, kw_only=True)
class Regression(Supervised):
    """Mean squared error of `outputs.logits` (B, K) with `batch['target/<column>']` float32 (B,) of K columns.

    The model learns `(y - mean) / deviation` of the training split, so that the loss does not depend on units: 1 is
    what always saying the mean gets. Rows of NaN have no number and weigh nothing.

    Measured are mean absolute and squared error, R^2 and Pearson's correlation; of several columns the mean of the
    latter two.
    """

    name: ClassVar[str] = 'regression'
    plain: ClassVar[tuple[str, ...]] = ('mae', 'mse', 'r2', 'pearson')
    chance_of: ClassVar[str] = 'always the mean'

    def targets(self, store: 'Store', data: Any) -> Targets:
        """See `Task`."""
        return Numbers(store, self.target)

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """`classes`, the columns; `scales`, mean and standard deviation of each in the training split."""
        targets = self.targets(store, data)
        scales = {}
        for column, values in of_split(targets, store, 'train').items():
            numbers = values[~np.isnan(values)].astype(np.float64)
            # Deviation 1 where all numbers are the same.
            scales[column] = [float(numbers.mean()), float(numbers.std()) or 1.0] if len(numbers) else [0.0, 1.0]
        return {'classes': targets.classes, 'scales': scales}

    def scale(self, column: str) -> tuple[float, float]:
        """Mean and standard deviation of a column in training; 0 and 1 where they are not known."""
        mean, deviation = self.facts.get('scales', {}).get(column, (0.0, 1.0))
        return mean, deviation

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """See `Supervised`.

        The term is `loss`, of several columns one each, `loss_<column>`; the metrics are mean absolute errors in the
        column's own units, `mae` or `mae_<column>`.
        """
        logits = of_clips(logits)
        terms: Sums = {}
        metrics: Sums = {}
        for place, column in enumerate(self.columns):
            mean, deviation = self.scale(column)
            target = (batch[f'target/{column}'] - mean) / deviation
            known = ~jnp.isnan(target)
            weight = mask * known
            error = logits[:, place] - jnp.where(known, target, 0)
            suffix = '' if isinstance(self.target, str) else f'_{column}'
            terms[f'loss{suffix}'] = (error ** 2 * weight).sum(), weight.sum()
            metrics[f'mae{suffix}'] = deviation * (jnp.abs(error) * weight).sum(), weight.sum()
        return terms, metrics

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; in the columns' own units, but for `loss`, which is that of training."""
        each = self._each(rows, self._predicted(rows))
        return {**_figures(each), 'loss': sum(
            found['mse'] / self.scale(column)[1] ** 2 for column, found in each.items())}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`: the absolute and the squared errors."""
        found: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        for column, values in self._predicted(rows).items():
            errors = values - rows.target[column].astype(np.float64)
            name = f'_{column}' if len(rows.target) > 1 else ''
            found |= {f'mae{name}': (np.abs(errors), None), f'mse{name}': (errors ** 2, None)}
        return found

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What always saying the mean of these clips gets."""
        there = {column: target[known(target)] for column, target in rows.target.items()}
        means = {column: np.full(len(rows.target[column]), numbers.mean(dtype=np.float64) if len(numbers) else 0.0)
                 for column, numbers in there.items()}
        # Nothing of the variance is explained, but for rounding.
        return _figures({column: found | {'r2': 0.0} for column, found in self._each(rows, means).items()})

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """The columns beside each other."""
        return {'tables': [table(
            'Targets', 'In the units of each column.',
            {'target': TEXT, 'MAE': NUMBER, 'MSE': NUMBER, 'R²': NUMBER, 'Pearson': NUMBER, 'clips': COUNT},
            [[column, *found.values(), int(known(rows.target[column]).sum())]
             for column, found in self._each(rows, self._predicted(rows)).items()])]}

    @property
    def rules(self) -> Rules | None:
        """None: a number has a unit."""
        return None

    def levels(self, scores: Any) -> dict[str, Levels]:
        """The numbers, in the columns' own units."""
        mean, deviation = np.array([self.scale(column) for column in self.columns]).T
        return of_windows(self.columns, mean + deviation * scores.astype(np.float64))

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """The sum of the columns' squared errors, each in units of its variance in training."""
        said = self._predicted(rows)
        each = np.stack([((values - rows.target[column].astype(np.float64)) / self.scale(column)[1]) ** 2
                         for column, values in said.items()], axis=1)
        return np.where(np.isnan(each).all(axis=1), np.nan, np.nansum(each, axis=1))

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """See `Task`."""
        found = []
        for column, predicted in self._predicted(rows).items():
            number = truth(rows, column, place)
            known_number = number is not None and not np.isnan(number)
            found.append({'target': column, 'truth': f'{float(number):.4g}' if known_number else '',
                          'probability': None, 'named': [[f'{float(predicted[place]):.4g}', None]]})
        return found

    def _predicted(self, rows: Predictions) -> dict[str, np.ndarray]:
        """The numbers that the model says, by column."""
        metrics.check_finite(rows.scores)
        found = {}
        for column, score in zip(self.columns, rows.scores.T.astype(np.float64), strict=True):
            mean, deviation = self.scale(column)
            found[column] = mean + deviation * score
        return found

    def _each(self, rows: Predictions, said: dict[str, np.ndarray]) -> dict[str, dict[str, float]]:
        found = {}
        for column, target in rows.target.items():
            there = known(target)
            found[column] = metrics.regression(said[column][there], target[there].astype(np.float64))
        return found


def _figures(each: dict[str, dict[str, float]]) -> dict[str, float]:
    """Of one column its figures; of several the means of those without a unit, and the errors of each."""
    if len(each) == 1:
        return dict(next(iter(each.values())))
    return {**{key: float(np.mean([found[key] for found in each.values()])) for key in ('r2', 'pearson')},
            **{f'{key}_{column}': found[key] for key in ('mae', 'mse') for column, found in each.items()}}
