"""A number, or several."""

from typing import Any

import numpy as np

from vmmjax.data.labels import Labels, Numbers
from vmmjax.data.store import Store
from vmmjax.evaluation import metrics
from vmmjax.evaluation.evaluate import Predictions, known
from vmmjax.evaluation.tasks.base import COUNT, NUMBER, TEXT, Task, table


class Regression(Task):
    """Mean absolute and squared error, R^2 and Pearson's correlation; of several columns the mean of the latter two."""

    name = 'regression'
    plain = ('mae', 'mse', 'r2', 'pearson')
    chance_of = 'always the mean'

    def read_labels(self, config: Any, store: Store) -> Labels:
        """See `Task`."""
        return Numbers(store, config.data.target)

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; in the columns' own units, but for `loss`, which is that of `objectives.Regression`."""
        each = self._each(rows, self._predicted(rows))
        return {**_figures(each), 'loss': sum(
            found['mse'] / self.objective.scale(column)[1] ** 2 for column, found in each.items())}

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

    def tables(self, rows: Predictions) -> list[dict[str, Any]]:
        """The columns beside each other."""
        return [table('Targets', 'In the units of each column.',
                      {'target': TEXT, 'MAE': NUMBER, 'MSE': NUMBER, 'R²': NUMBER, 'Pearson': NUMBER, 'clips': COUNT},
                      [[column, *found.values(), int(known(rows.target[column]).sum())]
                       for column, found in self._each(rows, self._predicted(rows)).items()])]

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """The sum of the columns' squared errors, each in units of its variance in training."""
        said = self._predicted(rows)
        each = np.stack([((values - rows.target[column].astype(np.float64)) / self.objective.scale(column)[1]) ** 2
                         for column, values in said.items()], axis=1)
        return np.where(np.isnan(each).all(axis=1), np.nan, np.nansum(each, axis=1))

    def told(self, rows: Predictions, place: int) -> list[dict[str, Any]]:
        """See `Task`."""
        return [{'target': column, 'truth': '' if np.isnan(rows.target[column][place]) else
                 f'{float(rows.target[column][place]):.4g}', 'probability': None,
                 'named': [[f'{float(said[place]):.4g}', None]]} for column, said in self._predicted(rows).items()]

    def _predicted(self, rows: Predictions) -> dict[str, np.ndarray]:
        """The numbers that the model says, by column."""
        metrics.check_finite(rows.scores)
        found = {}
        for column, score in zip(self.objective.columns, rows.scores.T.astype(np.float64), strict=True):
            mean, deviation = self.objective.scale(column)
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
