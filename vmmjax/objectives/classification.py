"""One class of several, for one target or for several at once."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vmmjax.errors import UserError, did_you_mean
from vmmjax.objectives.base import Batch
from vmmjax.objectives.supervised import Sums, Supervised, of_clips

CLASS_WEIGHTS = ('none', 'balanced')


@dataclasses.dataclass(frozen=True)
class Classification(Supervised):
    """Softmax cross-entropy of `outputs.logits` (B, C) with `batch['target/<target>']` int32 (B,).

    Padding rows (`mask` 0) weigh nothing, neither do rows without a label (target -1). Where the batch has
    `mix/target` int32 (B,) and `mix/weight` float32 (B,), as mixup and CutMix make them, that share of the target's
    mass is the other clip's. Of several targets `outputs.logits` is a dict by target, and the losses are added.

    Attributes:
      target: catalog column; of several targets a sequence of them.
      label_smoothing: the share of the target's mass spread evenly over all classes
        (Szegedy et al. 2016, section 7).
      class_weights: `none`, or `balanced`: a row weighs as much as its class is rare, `n / (C n_c)`, with n rows of
        the training split and n_c of its class; the loss is the weighted mean.
      gamma: of the focal loss, `-(1 - p)^gamma log p` (Lin et al. 2017, equation 4); 0 is cross-entropy.
      training: target -> codes of the training split, int (rows,), from which `balanced` counts.
    """

    label_smoothing: float = 0.0
    class_weights: str = 'none'
    gamma: float = 0.0
    training: Mapping[str, np.ndarray] | None = None

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if self.class_weights not in CLASS_WEIGHTS:
            raise UserError(f'config.task.class_weights is {self.class_weights!r}: '
                            f'{did_you_mean(self.class_weights, CLASS_WEIGHTS)}.')
        if self.gamma < 0:
            raise UserError(f'config.task.gamma is {self.gamma}; it must be at least 0.')

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """See `Supervised`.

        The term is `loss`, the metric `accuracy`; of several targets `loss_<target>` and `accuracy_<target>`, and
        `all_right`, how often every target of a clip is told.
        """
        if isinstance(self.target, str):
            loss, hit, weight = self._judge_one(self.target, of_clips(logits), batch, mask)
            return {'loss': loss}, {'accuracy': ((hit * weight).sum(), weight.sum())}
        terms: Sums = {}
        metrics: Sums = {}
        right, known = jnp.ones_like(mask), mask
        for target in self.target:
            terms[f'loss_{target}'], hit, weight = self._judge_one(target, of_clips(logits[target]), batch, mask)
            metrics[f'accuracy_{target}'] = (hit * weight).sum(), weight.sum()
            right, known = right * hit, known * (weight > 0)
        return terms, metrics | {'all_right': ((right * known).sum(), known.sum())}

    def _judge_one(self, name: str, logits: jax.Array, batch: Batch, mask: jax.Array
                   ) -> tuple[tuple[jax.Array, jax.Array], jax.Array, jax.Array]:
        """The loss of one target, which rows are right, and which count."""
        target = batch[f'target/{name}']
        weight = mask * (target >= 0)
        wanted = jax.nn.one_hot(target, logits.shape[-1])
        if 'mix/weight' in batch:
            share = batch['mix/weight'][:, None]
            wanted = (1 - share) * wanted + share * jax.nn.one_hot(batch['mix/target'], logits.shape[-1])
        smooth = optax.smooth_labels(wanted, self.label_smoothing)
        if self.gamma:
            log_p = jax.nn.log_softmax(logits)
            # Of a power below 1 the slope at 0 is infinite.
            doubt = jnp.maximum(-jnp.expm1(log_p), 1e-12)
            loss = -(smooth * doubt ** self.gamma * log_p).sum(-1)
        else:
            loss = optax.softmax_cross_entropy(logits, smooth)
        hit = (logits.argmax(-1) == target).astype(jnp.float32)
        counts = weight if self.class_weights == 'none' else weight * (
            wanted @ self._balanced(name, logits.shape[-1]))
        return ((loss * counts).sum(), counts.sum()), hit, weight

    def _balanced(self, name: str, classes: int) -> np.ndarray:
        if self.training is None:
            raise UserError("config.task.class_weights is 'balanced', which needs the targets of the training split.")
        codes = self.training[name]
        counts = np.bincount(codes[codes >= 0], minlength=classes)
        # A class that the training split lacks never asks for its weight.
        return (counts.sum() / (classes * np.maximum(counts, 1))).astype(np.float32)
