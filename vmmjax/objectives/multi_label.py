"""Any number of names a clip."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vmmjax.objectives.base import Batch
from vmmjax.objectives.supervised import Sums, Supervised, of_clips


@dataclasses.dataclass(frozen=True)
class MultiLabel(Supervised):
    """Binary cross-entropy of `outputs.logits` (B, C) with `batch['target/<target>']` float32 (B, C), mean over names.

    Rows of NaN are not labelled and weigh nothing.

    Attributes:
      label_smoothing: s; targets y become (1 - s) y + s / C (Szegedy et al. 2016, eq. 7).
    """

    label_smoothing: float = 0.0

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
