"""One class of several."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import optax

from vmmjax.objectives.base import Apply, Batch, Loss


@dataclasses.dataclass(frozen=True)
class Classification:
    """Softmax cross-entropy of `outputs.logits` (B, C) with `batch['target/<target>']` int32 (B,).

    Padding rows (`mask` 0) weigh nothing, neither do rows without a label (target -1). Where the batch has
    `mix/target` int32 (B,) and `mix/weight` float32 (B,), as mixup and CutMix make them, that share of the target's
    mass is the other clip's.

    Attributes:
      target: catalog column.
      label_smoothing: the share of the target's mass spread evenly over all classes
        (Szegedy et al. 2016, section 7).
    """

    target: str
    label_smoothing: float = 0.0

    def __call__(self, apply: Apply, params: Any, model_state: Any, batch: Batch, rng: jax.Array) -> Loss:
        """See `Objective`; the term is `loss`, the metric `accuracy`."""
        outputs, model_state = apply({'params': params, **model_state}, batch, train=True,
                                     rngs={'dropout': rng}, mutable=list(model_state))
        logits = outputs.logits.astype(jnp.float32)
        target = batch[f'target/{self.target}']
        weight = batch['mask'] * (target >= 0)
        wanted = jax.nn.one_hot(target, logits.shape[-1])
        if 'mix/weight' in batch:
            share = batch['mix/weight'][:, None]
            wanted = (1 - share) * wanted + share * jax.nn.one_hot(batch['mix/target'], logits.shape[-1])
        smooth = optax.smooth_labels(wanted, self.label_smoothing)
        loss = optax.softmax_cross_entropy(logits, smooth)
        hit = (logits.argmax(-1) == target).astype(jnp.float32)
        count = weight.sum()
        return Loss(terms={'loss': ((loss * weight).sum(), count)}, model_state=model_state,
                    metrics={'accuracy': ((hit * weight).sum(), count)})
