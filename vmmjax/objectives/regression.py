"""A number, or several."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.objectives.base import Batch
from vmmjax.objectives.supervised import Sums, Supervised, of_clips


@dataclasses.dataclass(frozen=True)
class Regression(Supervised):
    """Mean squared error of `outputs.logits` (B, K) with `batch['target/<column>']` float32 (B,) of K columns.

    The model learns `(y - mean) / deviation` of the training split, so that the loss does not depend on units: 1 is
    what always saying the mean gets. Rows of NaN have no number and weigh nothing.

    Attributes:
      training: column -> float (rows,), the numbers of the training split; without them mean 0 and deviation 1.
    """

    training: Mapping[str, np.ndarray] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The targets, in the order of the model's outputs."""
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)

    def scale(self, column: str) -> tuple[float, float]:
        """Mean and deviation of a column; deviation 1 where all numbers are the same."""
        if self.training is None:
            return 0.0, 1.0
        numbers = self.training[column][~np.isnan(self.training[column])].astype(np.float64)
        return (float(numbers.mean()), float(numbers.std()) or 1.0) if len(numbers) else (0.0, 1.0)

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
