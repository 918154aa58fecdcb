"""A run as it judges live windows, and the rules by which it raises alarms."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import jax
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.evaluation.predictions import Predictions
from vmmjax.experiment import Experiment
from vmmjax.pipeline import inputs
from vmmjax.prepare.columns import ColumnBuilder, rebuilt
from vmmjax.serving.live import columns
from vmmjax.serving.live.windows import LiveBatches, Window
from vmmjax.tasks.alarms import Levels, Rules
from vmmjax.tasks.writing import Writes
from vmmjax.training import sharding
from vmmjax.training.step import make_eval_step

if TYPE_CHECKING:
    from vmmjax.serving.live.frames import FrameJudge

Connection = tuple[str, object]
"""The name of a source, and what is another object for each of its connections."""


class Judged(NamedTuple):
    """What is said of a window.

    Attributes:
      levels: by output, one entry a test view that counts; none of a run that writes texts.
      present: its streams.
      sentence: of a run that writes texts what `Task.reading` says of it, times on the clock of the windows; None where
        it has no stream.
    """

    levels: dict[str, list[Levels]]
    present: list[str]
    sentence: Mapping[str, Any] | None = None


class Judge:
    """A run as it judges live windows: what it says of one is what its evaluation says of it.

    Attributes:
      window: seconds.
      columns: the builders of the columns that are read.
      names: the outputs that may raise an alarm.
      rules: of the task; None where it has none.
      writes: whether the run writes texts, and raises no alarms.
    """

    def __init__(self, run: Experiment, sources: int, window: float = 0.0) -> None:
        """Takes a loaded run.

        Args:
          run: see `Experiment.load`.
          sources: how many are judged at once at most.
          window: seconds, for a run that looks at whole clips; 0 for the run's own.

        Raises:
          UserError: for a run that cannot watch live streams.
        """
        own = float(run.config.data.window.seconds)
        if bool(own) == bool(window):
            raise UserError(f'The run looks at windows of {own:g} s; leave --window out.' if own else
                            'The run looks at whole clips, and a live stream has no end; give the seconds of a clip as '
                            '--window.')
        self._run, self.window, self.writes = run, own or window, isinstance(run.task, Writes)
        found = inputs.checked(run.run_inputs.get('data'), run.config.data.store)
        self.columns: dict[str, ColumnBuilder] = {
            name: rebuilt(name, record) for name, record in found['columns'].items()}
        columns.check(list(self.columns.values()))
        shards = sharding.row_shards(run.batch_sharding)
        self._sizes = sorted({-(-min(sources, 1 << power) // shards) * shards for power in range(sources)})
        self._batches = LiveBatches(found, run.config.data.to_dict(), window=self.window, sources=self._sizes[-1],
                                    seed=run.config.seed)
        self._step = make_eval_step(run.apply, run.mesh, run.task.compute, seed=run.config.seed)
        variables = run.variables
        self._params, self._model_state = variables.pop('params'), variables
        self.rules = run.task.rules
        # Few sizes of batches, so that few programs are compiled, and before anything is live.
        self.names = [list(self._judged([Window(0.0, {}, {})], size)[1]) for size in self._sizes][-1]

    def __call__(self, windows: Sequence[Window], connections: Sequence[Connection] = ()) -> list[Judged]:
        """What is said of each window; whose it is does not matter."""
        size = next(size for size in self._sizes if size >= len(windows))
        batch, levels, scores = self._judged(windows, size)
        if self.writes:
            return self._read(windows, batch, scores)
        views = len(next(iter(levels.values())).values) // size
        found = []
        for place in range(len(windows)):
            rows = range(place * views, (place + 1) * views)
            present = self._present(batch, place)
            found.append(Judged({name: [Levels(level.values[row:row + 1], level.mask[row:row + 1]) for row in rows]
                           for name, level in levels.items()}, present))
        return found

    def _read(self, windows: Sequence[Window], batch: Mapping[str, np.ndarray], scores: Any) -> list[Judged]:
        """The sentences of windows."""
        times = np.array([[window.start, self.window] for window in windows])
        rows = Predictions(np.arange(len(windows)), {'window': times}, scores, {})
        found = []
        for place in range(len(windows)):
            present = self._present(batch, place)
            found.append(Judged({}, present, self._run.task.reading(rows, place, 1)[0] if present else None))
        return found

    def _present(self, batch: Mapping[str, np.ndarray], place: int) -> list[str]:
        return [stream for stream in self._run.config.data.streams
                if batch[f'present/{stream}'][place * self._batches.crops]]

    def _judged(self, windows: Sequence[Window], size: int) -> tuple[dict[str, np.ndarray], dict[str, Levels], Any]:
        run, crops = self._run, self._batches.crops
        batch = self._batches.of(windows, size)
        scores = jax.device_get(self._step(self._params, self._model_state, sharding.put(batch, run.batch_sharding)))
        if crops > 1 and not run.task.each_view:
            average, starts = run.task.averaging[run.average], np.arange(0, size * crops, crops)
            scores = jax.tree.map(lambda rows: average(rows.astype(np.float64), starts).astype(np.float32), scores)
        return batch, {} if self.writes else run.task.levels(scores), scores


def rules_of(judge: 'Judge | FrameJudge', names: Sequence[str], changes: Mapping[str, float]) -> dict[str, Rules]:
    """The rules of the outputs that are to raise alarms; none of a run that writes texts.

    Args:
      judge: of the run.
      names: the outputs; may be left out where there is one.
      changes: what differs from the run's rules.

    Raises:
      UserError: for an output that is not there, none of several, thresholds that are no pair, or none for a number.
    """
    if judge.writes:
        if names or changes:
            raise UserError('The run writes texts and raises no alarms; leave --alarm and the thresholds out.')
        return {}
    if not names and len(judge.names) > 1:
        raise UserError(f'The run has {len(judge.names)} outputs; name those that raise an alarm as --alarm: '
                        f'{", ".join(judge.names)}.')
    for name in names:
        if name not in judge.names:
            raise UserError(f'--alarm names {name!r}, which the run does not say: {did_you_mean(name, judge.names)}.')
    if judge.rules is None and 'high' not in changes:
        raise UserError('The run says numbers; give the one that begins an alarm as --high.')
    base = judge.rules or Rules(high=changes['high'], low=changes['high'])
    rules = base._replace(low=min(base.low, changes.get('high', base.high)))._replace(**changes)
    if not rules.low <= rules.high:
        raise UserError(f'--low={rules.low:g} is above --high={rules.high:g}; an alarm lasts down to the low one.')
    return dict.fromkeys(names or judge.names, rules)
