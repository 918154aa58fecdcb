"""A task of one's own in one file: ordinal regression, such as ratings from 1 to 5.

A clip with rating k is above the thresholds 1 to k - 1; the model has an output for each threshold, "is it above?"
(Frank and Hall 2001), and the predicted rating is 1 + how many are answered with yes. Used by its import path:

  vmmjax train --config=... --config.task="{'name': 'experiments.examples.ordinal:Ordinal'}" --config.data.target=rating
"""

import dataclasses
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import optax
from scipy import special

from vmmjax.evaluation.predictions import truth
from vmmjax.pipeline.targets import Numbers
from vmmjax.tasks.supervised import Supervised, of_clips


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ordinal(Supervised):
    """Whole numbers from 1 to `levels`; their order counts, not their distance."""

    levels: int = 5

    name: ClassVar[str] = 'ordinal'
    plain: ClassVar[tuple[str, ...]] = ('mae',)

    def targets(self, store, data):
        """The catalog column as numbers, NaN where a clip has none."""
        return Numbers(store, self.target)

    def describe(self, store, data):
        """Every output is a threshold."""
        return {'classes': [f'above {level}' for level in range(1, self.levels)]}

    def judge(self, logits, outputs, batch, mask):
        """Binary cross-entropy at every threshold, the mean over them."""
        logits, rating = of_clips(logits), batch[f'target/{self.target}']
        weight = mask * ~jnp.isnan(rating)
        above = (jnp.nan_to_num(rating)[:, None] > jnp.arange(1, self.levels)).astype(jnp.float32)
        loss = optax.sigmoid_binary_cross_entropy(logits, above).mean(-1)
        return {'loss': ((loss * weight).sum(), weight.sum())}, {}

    def summary(self, rows):
        """The mean absolute error of the predicted rating, and how often it is the right one."""
        ratings, predicted = rows.target[self.target], 1 + (rows.scores > 0).sum(1)
        return {'mae': float(np.abs(predicted - ratings).mean()), 'accuracy': float((predicted == ratings).mean()),
                'loss': float(np.log1p(np.exp(np.where(ratings[:, None] > np.arange(1, self.levels), -1, 1)
                                              * rows.scores.astype(np.float64))).mean())}

    def reading(self, rows, place, most=3):
        """The predicted rating, with the probability of the last threshold that it is above."""
        above, known = special.expit(rows.scores[place]), truth(rows, self.target, place)
        return [{'target': self.target, 'truth': '' if known is None else f'{known:g}', 'probability': None,
                 'named': [[str(1 + int((above > .5).sum())), None]]}]
