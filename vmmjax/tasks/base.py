"""What a task is: a question that a model is trained on and measured by, in one file."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation import intervals, view_averages
from vmmjax.evaluation.predictions import Predictions, subset_names
from vmmjax.evaluation.result import Result
from vmmjax.tasks.alarms import Levels, Rules
from vmmjax.training import workdir
from vmmjax.training.objective import Context, Loss

if TYPE_CHECKING:
    from vmmjax.pipeline.targets import Targets
    from vmmjax.store.store import Store


_Figures = tuple[dict[str, float], dict[str, dict[str, Any]]]  # Metrics, and the intervals of some.


def check_stream(config: Any, stream: str, use: str = '') -> None:
    """Refuses a stream of `config.task` that has no encoder, or that the data do not have.

    Args:
      config: the run's.
      stream: `config.task.stream`.
      use: what an encoder is wanted for, such as ` to judge it`.

    Raises:
      UserError: names the nearest stream.
    """
    if stream not in config.model.encoders:
        raise UserError(f'config.task.stream is {stream!r}, which has no encoder{use}: '
                        f'{did_you_mean(stream, list(config.model.encoders))}.')
    if stream not in config.data.streams:
        raise UserError(f'config.task.stream is {stream!r}, which config.data.streams does not have: '
                        f'{did_you_mean(stream, list(config.data.streams))}.')


@dataclasses.dataclass(frozen=True, kw_only=True)
class Task:
    """One kind of question; one of its own overrides what differs, `targets`, `loss` and `summary` at least.

    The fields of the dataclass are the options of `config.task`, but for the two that are given.

    Attributes:
      target: `config.data.target`, a catalog column or several.
      facts: what `describe` found in the training store, plain JSON values. They are kept with the run, so that it can
        be used without its store.
      name: as `config.task.name`.
      averaging: how test views are averaged, by `config.data.views.average`.
      plain: metrics that are numbers with a unit or none; all others are fractions and shown in percent.
      chance_of: what the figures of `chance` are those of, in a few words.
      each_view: whether every test view of a clip is measured, and not the mean of them.
      learns_unlabelled: whether clips without a target are trained on, too: `data.labels_share` leaves them in.
      compares_rows: whether a row's loss depends on other rows of the batch; such a batch is not parted, see
        `training.Objective`.
    """

    target: str | Sequence[str]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    name: ClassVar[str] = ''
    averaging: ClassVar[Mapping[str, view_averages.Average]] = {'logits': view_averages.logits}
    plain: ClassVar[tuple[str, ...]] = ()
    chance_of: ClassVar[str] = 'most frequent class'
    each_view: ClassVar[bool] = False
    learns_unlabelled: ClassVar[bool] = False
    compares_rows: ClassVar[bool] = False

    # What is asked.

    def targets(self, store: 'Store', data: Any) -> 'Targets':
        """The targets of clips.

        Args:
          store: the clips'.
          data: `config.data`.
        """
        raise NotImplementedError

    def describe(self, store: 'Store', data: Any) -> dict[str, Any]:
        """What the task is to know of the training store; `classes`, the names of the model's outputs, at least.

        Args:
          store: with the splits of the run.
          data: `config.data`.

        Raises:
          UserError: for whatever `data` names that is not there.
        """
        return {'classes': self.targets(store, data).classes}

    def check(self, config: Any) -> None:
        """Refuses what of the config does not fit the task.

        Raises:
          UserError: says what.
        """
        if config.data.parts:
            raise UserError('data.parts names parts of a class, and is for one target of classes; leave it out.')

    @property
    def columns(self) -> tuple[str, ...]:
        """The targets' catalog columns."""
        return (self.target,) if isinstance(self.target, str) else tuple(self.target)

    @property
    def classes(self) -> Any:
        """The names of the model's outputs; of several targets by target."""
        return self.facts['classes']

    @property
    def num_classes(self) -> int | dict[str, int]:
        """The outputs of the model's head, as `models.create` takes them."""
        return workdir.num_classes(self.classes)

    @property
    def teacher(self) -> str:
        """The folder of a run whose answers to the training clips `loss` reads as `teacher/<target>`; empty for none.

        They are float32 (B, C), a number for each class of this run, -inf for one that the teacher does not know.
        """
        return ''

    # What is learned.

    def init(self, key: jax.Array, outputs: Any, batch: Mapping[str, jax.Array]) -> dict[str, Any]:
        """Variables of the task's own modules, by collection, beside the model's.

        Under `params` they are in `task` (what prediction needs) and `task_training` (what only training does, and is
        neither exported nor loaded by `init_from`).

        Args:
          key: random.
          outputs: of the model for the batch.
          batch: a raw clip batch of one row.
        """
        return {}

    def loss(self, ctx: Context) -> Loss | dict[str, Loss]:
        """See `training.Objective`."""
        raise NotImplementedError

    # What is made.

    def panels(self, ctx: Context) -> dict[str, dict[str, jax.Array]]:
        """What a page shows of clips: what the model was given, and made of it; nothing of most tasks.

        Returns:
          Of each stream, by caption, arrays of one shape: uint8 (B, T, H, W, C), or float spectrograms (B, F, M). One
          of them is `truth`.
        """
        return {}

    # What is measured.

    def compute(self, ctx: Context) -> Any:
        """What of a batch is measured: a tree of arrays (B, ...). It is compiled, and may generate."""
        outputs, _ = ctx.forward()
        return self.read(outputs)

    @property
    def in_training(self) -> Self:
        """The task as it is measured while a model trains: itself, or one that generates in less time."""
        return self

    def read(self, outputs: Any) -> Any:
        """What of the model's outputs is measured; float32."""
        return jax.tree.map(lambda logits: logits.astype(jnp.float32), outputs.logits)

    def measured(self, targets: Sequence[str]) -> str | list[str]:
        """What `Predictions.target` holds: the array of the one name, or a dict by the names of a list.

        Args:
          targets: the names of the targets in a batch, what stands behind `target/`.
        """
        return list(targets)

    def subsets(self, streams: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The subsets of the streams that are measured, by name, all of them first."""
        return subset_names(streams)

    def summary(self, rows: Predictions) -> dict[str, float]:
        """The metrics, the most telling first; finite numbers, `loss` among them."""
        raise NotImplementedError

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What some of the metrics are without looking at a clip."""
        return {}

    def examples(self, rows: Predictions) -> int:
        """How many clips were measured."""
        return len(np.unique(rows.id))

    def details(self, rows: Predictions, store: 'Store') -> dict[str, Any]:
        """Further attributes of the `Result`, such as `tables`.

        Args:
          rows: with all streams.
          store: the clips'.
        """
        return {}

    def losses(self, rows: Predictions) -> np.ndarray | None:
        """The loss of each clip, float64 (N,), NaN where it has no target; None where a clip has none of its own."""
        return None

    def per_clip(self, rows: Predictions) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
        """The metrics that are means over clips, which have confidence intervals.

        Returns:
          By name the value of each clip, float (N,), NaN where it has none, and its weight in the mean, float (N,),
          None if all have the same; values are from 0 to 1 but of `plain` metrics and the loss.
        """
        return {}

    def reading(self, rows: Predictions, place: int, most: int = 3) -> list[dict[str, Any]]:
        """A prediction as a person reads it.

        Args:
          rows: with all streams; targets may be unknown.
          place: of the clip in them.
          most: how many classes are named.

        Returns:
          Of each target, as plain JSON values, its name as `target`, the `truth` as text (empty where it is not known),
          its `probability`, and as `named` what is predicted, the likeliest first, each with its probability;
          probabilities are None of numbers.

        Raises:
          UserError: for a task whose predictions are not of one clip each, and for scores that are not finite.
        """
        raise UserError(f'The task {self.name} does not predict something of one clip each; measure it with `vmmjax '
                        f'evaluate`.')

    @property
    def rules(self) -> Rules | None:
        """When live windows raise an alarm, unless told otherwise; None where no threshold can be guessed."""
        return Rules()

    def levels(self, scores: Any) -> dict[str, Levels]:
        """What live windows may raise an alarm by.

        Args:
          scores: see `Predictions.scores`, of W windows.

        Returns:
          Of each output, by its name, its probability, or its number in its own unit.

        Raises:
          UserError: for a task whose outputs raise no alarm.
        """
        raise UserError(f'The task {self.name} raises no alarms; watch with a run that classifies, finds events or '
                        f'predicts numbers.')

    def result(self, predictions: Mapping[str, Predictions], *, split: str, step: int, store: 'Store') -> Result:
        """Measures predictions.

        Args:
          predictions: by subset of the streams, all of them first.
          split: the split's name.
          step: the checkpoint's training step.
          store: the clips'.

        Raises:
          UserError: for scores that are not finite.
        """
        whole = next(iter(predictions.values()))
        groups = store.values('group') if store.has_values('group') else None
        metrics, found = self.summary(whole), self._intervals(whole, groups)
        shown = [key for key in metrics if key != 'loss']

        def measured(rows: Predictions) -> _Figures:
            return (metrics, found) if rows is whole else (self.summary(rows), self._intervals(rows, groups))

        return Result(
            split=split, step=int(step), task=self.name, examples=self.examples(whole), metrics=metrics,
            subsets={name: self._subset(name, rows, shown, measured) for name, rows in predictions.items()},
            chance=self.chance(whole), chance_of=self.chance_of, classes=self.classes,
            plain=[key for key in metrics if self._is_plain(key)], intervals=found,
            **self.details(whole, store))

    def _subset(self, name: str, rows: Predictions, shown: Sequence[str],
                measured: Callable[[Predictions], _Figures]) -> dict[str, Any]:
        has_all = np.logical_and.reduce([rows.present[stream] for stream in name.split('+')])
        if not has_all.any():
            return {'examples': 0, **dict.fromkeys(shown), 'intervals': {}}
        some = rows if has_all.all() else jax.tree.map(lambda values: values[has_all], rows)
        metrics, found = measured(some)
        return {'examples': self.examples(some), **{key: metrics.get(key) for key in shown}, 'intervals': found}

    def _intervals(self, rows: Predictions, groups: np.ndarray | None) -> dict[str, dict[str, Any]]:
        """See `Result.intervals`; groups are text, of all clips of the store."""
        metrics = self.per_clip(rows)
        return intervals.of_metrics(metrics, None if groups is None else groups[rows.id],
                                    [name for name in metrics if name == 'loss' or self._is_plain(name)])

    def _is_plain(self, key: str) -> bool:
        return key in self.plain or key.startswith(self.plain)
