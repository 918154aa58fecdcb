"""One class of several: of one target, and of several at once."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy import special

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import metrics, view_averages
from vmmjax.evaluation.predictions import Predictions, known, truth
from vmmjax.evaluation.result import COUNT, PERCENT, TEXT, table
from vmmjax.pipeline.targets import Classes, Targets, of_split
from vmmjax.tasks.alarms import Levels, of_windows
from vmmjax.tasks.supervised import Sums, Supervised, of_clips
from vmmjax.training.objective import Batch

if TYPE_CHECKING:
    from vmmjax.store.store import Store

CLASS_WEIGHTS = ('none', 'balanced')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classification(Supervised):
    """Softmax cross-entropy of `outputs.logits` (B, C) with `batch['target/<target>']` int32 (B,).

    Padding rows (`mask` 0) weigh nothing, neither do rows without a label (target -1). Where the batch has
    `mix/target` int32 (B,) and `mix/weight` float32 (B,), as mixup and CutMix make them, that share of the target's
    mass is the other clip's. Of several targets `outputs.logits` is a dict by target, and the losses are added.

    Measured are accuracy, top-5, the accuracies of the label's parts, each class, and the confusion matrix.

    Attributes:
      label_smoothing: the share of the target's mass spread evenly over all classes
        (Szegedy et al. 2016, section 7).
      class_weights: `none`, or `balanced`: a row weighs as much as its class is rare, `n / (C n_c)`, with n rows of
        the training split and n_c of its class; the loss is the weighted mean.
      gamma: of the focal loss, `-(1 - p)^gamma log p` (Lin et al. 2017, equation 4); 0 is cross-entropy.
    """

    label_smoothing: float = 0.0
    class_weights: str = 'none'
    gamma: float = 0.0

    name: ClassVar[str] = 'classification'
    averaging: ClassVar[Mapping[str, view_averages.Average]] = {
        'logits': view_averages.logits, 'probabilities': view_averages.probabilities}

    def __post_init__(self) -> None:
        """Checks what a config says."""
        if self.class_weights not in CLASS_WEIGHTS:
            raise UserError(f'config.task.class_weights is {self.class_weights!r}: '
                            f'{did_you_mean(self.class_weights, CLASS_WEIGHTS)}.')
        if self.gamma < 0:
            raise UserError(f'config.task.gamma is {self.gamma}; it must be at least 0.')

    def targets(self, store: 'Store', data: Any) -> Targets:
        """Classes, which a mirror image may swap (`data.augment.flip_pairs`)."""
        return Classes(store, self.target, data.augment.flip_pairs, self.facts.get('classes'))

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """`classes`; `parts`, of every part of the label its value for each class; `counts`, rows of each class."""
        targets = self.targets(store, data)
        if taken := sorted(set(data.parts) & {'examples', 'intervals', 'loss', *metrics.FIGURES}):
            raise UserError(f'data.parts has {taken[0]!r}, which is the name of a metric: rename that column.')
        found: dict[str, Any] = {'classes': targets.classes}
        if isinstance(self.target, str):
            values = store.values(self.target)
            found['parts'] = {part: metrics.part_classes(values, store.values(part), name=part) for part in data.parts}
        if self.class_weights == 'balanced':
            names = {self.target: targets.classes} if isinstance(self.target, str) else targets.classes
            found['counts'] = {column: np.bincount(codes[codes >= 0], minlength=len(names[column])).tolist()
                               for column, codes in of_split(targets, store, 'train').items()}
        return found

    def check(self, config: Any) -> None:
        """Parts are of one target."""
        if not isinstance(self.target, str):
            super().check(config)

    def judge(self, logits: Any, outputs: Any, batch: Batch, mask: jax.Array) -> tuple[Sums, Sums]:
        """See `Supervised`.

        The term is `loss`, the metric `accuracy`; of several targets `loss_<target>` and `accuracy_<target>`, and
        `all_right`, how often every target of a clip is told.
        """
        if isinstance(self.target, str):
            loss, hit, weight = self._judge_one(self.target, of_clips(logits), batch, mask)
            return {'loss': loss}, {'accuracy': ((hit * weight).sum(), weight.sum())}
        terms: Sums = {}
        found: Sums = {}
        right, labelled = jnp.ones_like(mask), mask
        for target in self.target:
            terms[f'loss_{target}'], hit, weight = self._judge_one(target, of_clips(logits[target]), batch, mask)
            found[f'accuracy_{target}'] = (hit * weight).sum(), weight.sum()
            right, labelled = right * hit, labelled * (weight > 0)
        return terms, found | {'all_right': ((right * labelled).sum(), labelled.sum())}

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
        counts = weight if self.class_weights == 'none' else weight * (wanted @ self._balanced(name))
        return ((loss * counts).sum(), counts.sum()), hit, weight

    def _balanced(self, name: str) -> np.ndarray:
        if 'counts' not in self.facts:
            raise UserError("config.task.class_weights is 'balanced', which needs the targets of the training split.")
        counts = np.asarray(self.facts['counts'][name])
        # A class that the training split lacks never asks for its weight.
        return (counts.sum() / (len(counts) * np.maximum(counts, 1))).astype(np.float32)

    def measured(self, targets: Sequence[str]) -> str | list[str]:
        """The one target."""
        return targets[0]

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`."""
        return {**metrics.summary(rows.scores, rows.target, self.facts.get('parts', {})),
                'loss': metrics.cross_entropy(rows.scores, rows.target)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What always naming the most frequent class, and each most frequent part, gets."""
        return metrics.chance(rows.target, self.facts.get('parts', {}))

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """The classes, the confusion matrix and the calibration."""
        found = metrics.classification(rows.scores, rows.target, self.classes)
        return {'per_class': found['per_class'], 'confusion': found['confusion'],
                'calibration': metrics.calibration(rows.scores, rows.target)}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`."""
        correct = metrics.correct(rows.scores, rows.target, self.facts.get('parts', {}))
        return {name: (values, None) for name, values in {
            **correct, 'loss': metrics.cross_entropies(rows.scores, rows.target)}.items()}

    def levels(self, scores: Any) -> dict[str, Levels]:
        """The probability of each class."""
        return of_windows(self.classes, special.softmax(scores.astype(np.float64), axis=-1))

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """See `Task`."""
        return metrics.cross_entropies(rows.scores, rows.target)

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """See `Task`."""
        assert isinstance(self.target, str)
        return [_reading(self.target, self.classes, rows.scores[place], truth(rows, self.target, place), most)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Several(Classification):
    """Several targets: the accuracy of each, how often all are right, and the rate of wrong ones.

    Of the words of a sentence that is always as long, the rate of wrong targets is the word error rate.
    """

    def measured(self, targets: Sequence[str]) -> str | list[str]:
        """All of them."""
        return list(targets)

    def summary(self, rows: Predictions) -> dict[str, float]:
        """See `Task`; `accuracy` is the mean of the targets', `loss` the sum of their cross-entropies."""
        right, told = self._right(rows)
        accuracies = {name: float(right[told[:, i], i].mean()) if told[:, i].any() else 0.0
                      for i, name in enumerate(self.classes)}
        everything = told.all(axis=1)
        wrong = 1 - float(right[told].mean())
        loss = sum(metrics.cross_entropy(rows.scores[name][told[:, i]], rows.target[name][told[:, i]])
                   for i, name in enumerate(self.classes) if told[:, i].any())
        return {'accuracy': 1 - wrong, 'all_right': float(right[everything].all(axis=1).mean()) if everything.any()
                else 0.0, 'word_error_rate': wrong, **{f'accuracy_{name}': value for name, value in accuracies.items()},
                'loss': float(loss)}

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What always naming each target's most frequent class gets."""
        _, told = self._right(rows)
        each = {name: metrics.chance(rows.target[name][told[:, i]], {})['accuracy']
                for i, name in enumerate(self.classes) if told[:, i].any()}
        mean = sum(each[name] * told[:, i].sum() for i, name in enumerate(self.classes) if name in each) / told.sum()
        return {'accuracy': float(mean), 'word_error_rate': float(1 - mean),
                **{f'accuracy_{name}': value for name, value in each.items()}}

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """The targets beside each other."""
        _, told = self._right(rows)
        found, chance = self.summary(rows), self.chance(rows)
        return {'tables': [table(
            'Targets', 'Each by its own head; chance is that of the most frequent class.',
            {'target': TEXT, 'classes': COUNT, 'accuracy': PERCENT, 'chance': PERCENT, 'clips': COUNT},
            [[name, len(self.classes[name]), found[f'accuracy_{name}'], chance.get(f'accuracy_{name}'),
              int(told[:, i].sum())] for i, name in enumerate(self.classes)])]}

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """See `Task`; of `accuracy` the fraction of a clip's targets, weighted by their number."""
        right, told = self._right(rows)
        count = told.sum(axis=1)
        accuracy = np.where(count > 0, (right & told).sum(axis=1) / np.maximum(count, 1), np.nan)
        weights = None if told.all() else count.astype(np.float64)
        return {'accuracy': (accuracy, weights), 'word_error_rate': (1 - accuracy, weights),
                'all_right': (np.where(told.all(axis=1), right.all(axis=1), np.nan), None),
                **{f'accuracy_{name}': (np.where(told[:, i], right[:, i], np.nan), None)
                   for i, name in enumerate(self.classes)}}

    def levels(self, scores: Any) -> dict[str, Levels]:
        """The probability of each class of each target, as `target/class`."""
        return {name: level for target, classes in self.classes.items() for name, level in of_windows(
            [f'{target}/{each}' for each in classes], special.softmax(scores[target].astype(np.float64), -1)).items()}

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """The sum over the targets that a clip has."""
        found = np.full((len(rows.id), len(self.classes)), np.nan)
        for i, name in enumerate(self.classes):
            there = known(rows.target[name])
            if there.any():
                found[there, i] = metrics.cross_entropies(rows.scores[name][there], rows.target[name][there])
        return np.where(np.isnan(found).all(axis=1), np.nan, np.nansum(found, axis=1))

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """See `Task`."""
        return [_reading(name, classes, rows.scores[name][place], truth(rows, name, place), most)
                for name, classes in self.classes.items()]

    def _right(self, rows: Predictions) -> tuple[np.ndarray, np.ndarray]:
        """Which targets are told rightly, and which are known, both bool (N, targets)."""
        for scores in rows.scores.values():
            metrics.check_finite(scores)
        right = [rows.scores[name].argmax(axis=1) == rows.target[name] for name in self.classes]
        return np.stack(right, 1), np.stack([known(rows.target[name]) for name in self.classes], 1)


def _reading(target: str, classes: Sequence[str], scores: np.ndarray, code: int | None, most: int
             ) -> dict[str, Any]:
    """The prediction of a clip's class; a code below 0, or none, is not known."""
    metrics.check_finite(scores[None])
    known_code = -1 if code is None else int(code)
    probabilities = special.softmax(scores.astype(np.float64))
    best = np.argsort(-probabilities, kind='stable')[:most].tolist()
    return {'target': target, 'truth': str(classes[known_code]) if known_code >= 0 else '',
            'probability': float(probabilities[known_code]) if known_code >= 0 else None,
            'named': [[str(classes[place]), float(probabilities[place])] for place in best]}
