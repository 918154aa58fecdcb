"""Classes from few labels and many clips without: what is told of a clip is to be told of its changed view."""

import dataclasses
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax

from vmmjax.errors import UserError
from vmmjax.pipeline.few_labels import labelled
from vmmjax.pipeline.targets import Classes, Targets, WindowBatch
from vmmjax.tasks.classification import Classification
from vmmjax.tasks.supervised import of_clips
from vmmjax.training.objective import Context, Loss

if TYPE_CHECKING:
    from vmmjax.store.store import Store


class FewClasses(Classes):
    """Classes of which the training clips have but a share; all others of that split are -1."""

    def __init__(self, store: 'Store', target: str, data: Any, classes: Any = None) -> None:
        """Draws which training clips are labelled, see `pipeline.few_labels.labelled`.

        Args:
          store: with a split `train`, unless it holds no training clips.
          target: catalog column.
          data: `config.data`.
          classes: names, in the order of the model's outputs; those of the store unless given.
        """
        super().__init__(store, target, data.augment.flip_pairs, classes)
        self._key, self._hidden = f'target/{target}', np.zeros(len(store), bool)
        if data.labels_share < 1 and 'train' in store.splits:
            self._hidden[np.asarray(store.rows('train'))] = True
            self._hidden[labelled(store, [target], data.labels_share, data.labels_seed)] = False

    def of(self, windows: WindowBatch) -> dict[str, np.ndarray]:
        """See `Targets`."""
        found = super().of(windows)
        return {self._key: np.where(self._hidden[windows.rows], -1, found[self._key]).astype(np.int32)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SemiSupervised(Classification):
    """FixMatch (Sohn et al. 2020): the loss of `Classification`, and pseudo-labels of the clips without a label.

    A teacher looks at view 0 of a clip without a label; where it is sure of a class, with a probability of at least
    `threshold`, the cross-entropy of view 1 with that class counts, `weight` times (equations 3 and 4). The mean is
    over all clips without a label, sure or not. The teacher is the moving average of the parameters
    (`config.ema_decay`), as in Tarvainen and Valpola (2017), or without one the student itself; it is in evaluation
    mode, and has no gradient.

    Training reads all clips, and of them the labels of `data.labels_share`. View 1 is to be augmented strongly, view 0
    weakly: `data.augment.strong`.

    Attributes:
      threshold: least probability of a pseudo-label.
      weight: of their loss.
    """

    threshold: float = 0.95
    weight: float = 1.0

    name: ClassVar[str] = 'semi_supervised'
    learns_unlabelled: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Checks what a config says."""
        super().__post_init__()
        if not isinstance(self.target, str):
            raise UserError('config.task.name is semi_supervised, which is of one target; name one as data.target.')
        if not 0 <= self.threshold <= 1 or self.weight < 0:
            raise UserError(f'config.task has threshold = {self.threshold} and weight = {self.weight}; give a '
                            f'probability, and a weight of 0 or more.')

    def check(self, config: Any) -> None:
        """There are two views to be compared."""
        super().check(config)
        if all(stream.get('views', 1) < 2 for stream in config.data.streams.values()):
            raise UserError('config.task.name is semi_supervised, which compares two views of a clip; set '
                            'data.streams.<name>.views = 2 of those that are augmented.')
        if config.data.augment.mixup or config.data.augment.cutmix:
            raise UserError('data.augment.mixup and cutmix mix clips with and without labels; leave them out.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """Classes; of the training clips but the share that is labelled."""
        assert isinstance(self.target, str)
        return FewClasses(store, self.target, data, self.facts.get('classes'))

    def loss(self, ctx: Context) -> Loss:
        """See `training.Objective`; the terms are those of `Classification`, and `pseudo`.

        The metric `sure` is the share of the clips without a label that count.
        """
        first, second = ctx.view(0), ctx.view(1)
        supervised = super().loss(first)
        second = dataclasses.replace(second, model_state=supervised.model_state,
                                     rng=None if ctx.rng is None else jax.random.fold_in(ctx.rng, 1))
        outputs, model_state = second.forward()
        told, _ = dataclasses.replace(first, step=None).forward(ctx.ema)
        probability = jax.lax.stop_gradient(jax.nn.softmax(of_clips(told.logits)))
        there = jnp.stack(list(told.present.values())).any(0)
        open_rows = ctx.batch['mask'] * (ctx.batch[f'target/{self.target}'] < 0) * there
        sure = open_rows * (probability.max(-1) >= self.threshold)
        each = optax.softmax_cross_entropy_with_integer_labels(of_clips(outputs.logits), probability.argmax(-1))
        terms = {**supervised.terms, 'pseudo': (self.weight * (sure * each).sum(), open_rows.sum())}
        return Loss(terms, model_state, {**supervised.metrics, 'sure': (sure.sum(), open_rows.sum())})
