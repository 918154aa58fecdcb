"""What a task is to the commands: its targets, its objective, what is read of a model, how that is measured."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from vmmjax import objectives
from vmmjax.data import settings
from vmmjax.data.labels import Labels, Windows
from vmmjax.data.store import Store
from vmmjax.data.views import ViewsConfig
from vmmjax.errors import UserError
from vmmjax.evaluation import averages, evaluate, intervals
from vmmjax.evaluation.evaluate import Predictions
from vmmjax.training.step import logits_of
from vmmjax.training.workdir import num_classes

# How a column of a table is written.
TEXT, COUNT, PERCENT, NUMBER = 'text', 'count', 'percent', 'number'


class Task:
    """One kind of question. A task of its own overrides what differs.

    Attributes:
      name: as `config.task.name`.
      labels: the targets of clips, for the pipeline.
      objective: what is minimised.
      classes: the names that the model's outputs stand for, of several targets by target; part of a run's identity.
      plain: metrics that are numbers with a unit or none; all others are fractions and shown in percent.
      chance_of: what the figures of `chance` are those of, in a few words.
      each_view: whether every test view of a clip is measured, and not the mean of them.
      averaging: how test views are averaged, by `config.data.views.average`.
      average: that of this run.
      has_parts: whether `config.data.parts` has a meaning.
    """

    name = ''
    averaging: Mapping[str, averages.Average] = {'logits': averages.logits}
    plain: tuple[str, ...] = ()
    chance_of = 'most frequent class'
    each_view = False
    has_parts = False

    def __init__(self, config: Any, store: Store) -> None:
        """Reads the targets.

        Args:
          config: the run's.
          store: with the splits of the run.

        Raises:
          UserError: for whatever the config names that is not there.
        """
        if config.data.parts and not self.has_parts:
            raise UserError('data.parts names parts of a class, and is for one target of classes; leave it out.')
        name = settings.read(ViewsConfig, config.data.views, 'data.views').average
        if name not in self.averaging:
            raise UserError(f'data.views.average is {name!r}, and the outputs of the task {self.name} stand for none; '
                            f"set it to 'logits', which takes their mean as they are.")
        self.average = self.averaging[name]
        self.streams = list(config.data.streams)
        self._groups = store.values('group') if store.has_values('group') else None
        self.labels = self.read_labels(config, store)
        self.classes: Any = self.labels.classes
        self.objective: Any = objectives.create(config.task, config.data.target, self._training(store))

    @property
    def targets(self) -> str | list[str]:
        """What the batches' keys are called after `target/`."""
        return [key.removeprefix('target/') for key in self.labels.specs]

    @property
    def num_classes(self) -> Any:
        """The outputs of the model's head, as `models.create` takes them."""
        return num_classes(self.classes)

    def read_labels(self, config: Any, store: Store) -> Labels:
        """The targets."""
        raise NotImplementedError

    def read(self, outputs: Any) -> Any:
        """What of the model's outputs is measured: a tree of arrays (B, ...); it is compiled with the model."""
        return logits_of(outputs)

    @property
    def predictions(self) -> Callable[..., Mapping[str, Predictions]]:
        """How a model is asked: `evaluate.subsets`, or what takes the same arguments."""
        return evaluate.subsets

    def summary(self, rows: Predictions) -> dict[str, float]:
        """The figures, the most telling first; finite numbers, `loss` among them."""
        raise NotImplementedError

    def chance(self, rows: Predictions) -> dict[str, float]:
        """What some of the figures are without looking at a clip."""
        return {}

    def examples(self, rows: Predictions) -> int:
        """How many clips were measured."""
        return len(np.unique(rows.id))

    def tables(self, rows: Predictions) -> list[dict[str, Any]]:
        """Further tables of the page, see `table`; the first one stands on the terminal, too."""
        return []

    def details(self, rows: Predictions) -> dict[str, Any]:
        """Further keys of the result."""
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

    def intervals(self, rows: Predictions) -> dict[str, dict[str, Any]]:
        """The confidence intervals of the metrics of `per_clip`.

        Returns:
          By name `low` and `high`, None where there is no interval, and `label`, which names the method or the reason.
        """
        found = {}
        for name, (values, weights) in self.per_clip(rows).items():
            there = np.isfinite(values)
            if not there.any():
                continue
            groups = None if self._groups is None else self._groups[rows.id[there]]
            interval = intervals.mean(values[there], groups) if name == 'loss' or self._is_plain(name) else (
                intervals.proportion(values[there], groups, None if weights is None else weights[there]))
            ends = (None, None) if interval.missing else (interval.low, interval.high)
            found[name] = {'low': ends[0], 'high': ends[1], 'label': interval.label}
        return found

    def told(self, rows: Predictions, place: int) -> list[dict[str, Any]]:
        """What is said of one clip, for a task of `losses`.

        Args:
          rows: with all streams.
          place: of the clip in them.

        Returns:
          Of each target, as plain JSON values, its name as `target`, the `truth` as text, its `probability`, and as
          `named` what is said, the likeliest first, each with its probability; probabilities are None of numbers.
        """
        raise NotImplementedError

    def result(self, predictions: Mapping[str, Predictions], *, split: str, step: int) -> dict[str, Any]:
        """Measures predictions.

        Args:
          predictions: by subset of the streams, all of them first.
          split: the split's name.
          step: the checkpoint's training step.

        Returns:
          Plain JSON values: `split`, `step`, `examples`, `classes`, `metrics` (over all clips, each with the streams it
          has), `subsets` (the same without the loss, over the `examples` clips that have every stream of the subset;
          None where there are none), `chance` and `chance_of`, `task`, `plain`, `tables`, and `details`; `intervals` of
          the metrics, and in each subset its own.

        Raises:
          UserError: for scores that are not finite.
        """
        whole = next(iter(predictions.values()))
        figures = self.summary(whole)
        shown = [key for key in figures if key != 'loss']
        return {'split': split, 'step': int(step), 'task': self.name, 'examples': self.examples(whole),
                'metrics': figures,
                'subsets': {name: self._subset(name, rows, shown) for name, rows in predictions.items()},
                'chance': self.chance(whole), 'chance_of': self.chance_of, 'classes': self.classes,
                'plain': [key for key in figures if self._is_plain(key)], 'intervals': self.intervals(whole),
                'tables': self.tables(whole), **self.details(whole)}

    def _subset(self, name: str, rows: Predictions, shown: Sequence[str]) -> dict[str, Any]:
        has_all = np.logical_and.reduce([rows.present[stream] for stream in name.split('+')])
        if not has_all.any():
            return {'examples': 0, **dict.fromkeys(shown)}
        some = jax.tree.map(lambda values: values[has_all], rows)
        figures = self.summary(some)
        return {'examples': self.examples(some), **{key: figures[key] for key in shown},
                'intervals': self.intervals(some)}

    def _is_plain(self, key: str) -> bool:
        return key in self.plain or key.startswith(self.plain)

    def _training(self, store: Store) -> dict[str, np.ndarray]:
        rows = np.asarray(store.rows('train'))
        found = self.labels.of(Windows.whole(rows, store.durations[rows]))
        return {key.removeprefix('target/'): values for key, values in found.items()}


def table(title: str, note: str, columns: Mapping[str, str], rows: Sequence[Sequence[Any]]) -> dict[str, Any]:
    """A table of a page, as plain JSON values.

    Args:
      title: above it.
      note: a sentence below the title.
      columns: name -> `TEXT`, `COUNT`, `PERCENT` or `NUMBER`.
      rows: values of every row, None for a dash; the first is its name.
    """
    return {'title': title, 'note': note, 'columns': list(columns), 'formats': list(columns.values()),
            'rows': [list(row) for row in rows]}
