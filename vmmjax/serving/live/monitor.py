"""The loop that judges the newest windows of all sources, and tells of the alarms."""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.experiment import Experiment
from vmmjax.pipeline import inputs
from vmmjax.prepare.columns import ColumnBuilder, rebuilt
from vmmjax.serving.live import columns as live_columns
from vmmjax.serving.live.alarm import END, START, Alarm, Follower
from vmmjax.serving.live.evidence import Recorder
from vmmjax.serving.live.session import Schedule, Session
from vmmjax.serving.live.source import RUNNING, STALLED, Source
from vmmjax.serving.live.windows import LiveBatches, Window
from vmmjax.tasks.alarms import Rules
from vmmjax.tasks.base import Levels
from vmmjax.training import sharding
from vmmjax.training.step import make_eval_step

_LAST_ALARMS = 50  # On the page.
_POLL = 0.2  # Seconds from one look for streams that stall to the next.


class Judge:
    """A run as it judges live windows: what it says of one is what its evaluation says of it.

    Attributes:
      window: seconds.
      columns: the builders of the columns that are read.
      names: the outputs that may raise an alarm.
      rules: of the task; None where it has none.
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
        self._run, self.window = run, own or window
        found = inputs.checked(run.run_inputs.get('data'), run.config.data.store)
        self.columns: dict[str, ColumnBuilder] = {
            name: rebuilt(name, record) for name, record in found['columns'].items()}
        live_columns.check(list(self.columns.values()))
        shards = sharding.row_shards(run.batch_sharding)
        self._sizes = sorted({-(-min(sources, 1 << power) // shards) * shards for power in range(sources)})
        self._batches = LiveBatches(found, run.config.data.to_dict(), window=self.window, sources=self._sizes[-1],
                                    seed=run.config.seed)
        self._streams = {name: stream.modality for name, stream in run.config.data.streams.items()}
        self._step = make_eval_step(run.apply, run.mesh, run.task.compute, seed=run.config.seed)
        variables = run.variables
        self._params, self._model_state = variables.pop('params'), variables
        self.rules = run.task.rules
        # Few sizes of batches, so that few programs are compiled, and before anything is live.
        self.names = [list(self._judged([Window(0.0, {}, {})], size)[1]) for size in self._sizes][-1]

    def __call__(self, windows: Sequence[Window]) -> list[tuple[dict[str, list[Levels]], list[str]]]:
        """What is said of each window: by output its levels, one entry a test view that counts; its streams."""
        size = next(size for size in self._sizes if size >= len(windows))
        batch, levels = self._judged(windows, size)
        views = len(next(iter(levels.values())).values) // size
        found = []
        for place in range(len(windows)):
            rows = range(place * views, (place + 1) * views)
            present = [stream for stream in self._streams
                       if batch[f'present/{stream}'][place * self._batches.crops]]
            found.append(({name: [Levels(level.values[row:row + 1], level.mask[row:row + 1]) for row in rows]
                           for name, level in levels.items()}, present))
        return found

    def _judged(self, windows: Sequence[Window], size: int) -> tuple[dict[str, np.ndarray], dict[str, Levels]]:
        run, crops = self._run, self._batches.crops
        batch = self._batches.of(windows, size)
        scores = jax.device_get(self._step(self._params, self._model_state, sharding.put(batch, run.batch_sharding)))
        if crops > 1 and not run.task.each_view:
            average, starts = run.task.averaging[run.average], np.arange(0, size * crops, crops)
            scores = jax.tree.map(lambda rows: average(rows.astype(np.float64), starts).astype(np.float32), scores)
        return batch, run.task.levels(scores)


@dataclasses.dataclass
class _Connection:
    """The connection of a source that is judged now, and who follows its classes."""

    session: Session
    recorder: Recorder
    followers: dict[str, Follower]


class Monitor:
    """Judges, follows and tells until every source has ended or it is stopped."""

    def __init__(self, judge: Judge, sources: Sequence[Source], rules: Mapping[str, Rules], *, stride: float,
                 changed: threading.Condition, tell: Callable[[Alarm], None], say: Callable[[str], None],
                 clips: Path | None, before: float, waiting: Callable[[], int]) -> None:
        """Takes the parts.

        Args:
          judge: of the windows.
          sources: that have not begun.
          rules: by the outputs that raise alarms.
          stride: seconds from window to window.
          changed: the sources'.
          tell: is given every message.
          say: is told in one line what happens.
          clips: folder of the clips of alarms; None for none.
          before: seconds of a clip before its alarm.
          waiting: how many messages are not sent yet.
        """
        self._judge, self._sources, self._rules, self._stride = judge, sources, dict(rules), stride
        self._changed, self._tell_others, self._say = changed, tell, say
        self._clips, self._before, self._waiting = clips, before, waiting
        self._connections: dict[Source, _Connection] = {}
        self._evidence: dict[str, str] = {}  # By alarms that last.
        self._alarms: collections.OrderedDict[str, Alarm] = collections.OrderedDict()
        self._begun: collections.Counter[str] = collections.Counter()

    def run(self, stop: threading.Event) -> None:
        """Returns when every source has ended or `stop` is set; alarms that last are ended then."""
        for source in self._sources:
            source.start()
        while not stop.is_set():
            with self._changed:
                ready = [(source, window) for source in self._sources if (window := self._newest(source)) is not None]
                over = [source for source in self._sources if self._is_over(source)]
                done = not ready and not over and not any(
                    source.is_alive() or source.sessions for source in self._sources)
                if not ready and not over and not done:
                    self._changed.wait(_POLL)
            if ready:
                self._judge_all(ready)
            for source in over:
                self._end(source)
            if done:
                return
        for source in self._sources:
            while source.sessions:
                self._end(source)

    def status(self) -> dict[str, Any]:
        """What pages tell: plain JSON values."""
        with self._changed:
            sources = [{'name': source.name, 'state': source.state, 'stalled': sorted(source.stalled),
                        'delay': source.delay, 'faults': source.faults, 'alarms': self._begun[source.name],
                        **dataclasses.asdict(source.counts)} for source in self._sources]
            alarms = [alarm.to_json() for alarm in self._alarms.values()]
        return {'sources': sources, 'alarms': alarms, 'waiting': self._waiting()}

    def _newest(self, source: Source) -> Window | None:
        if not source.sessions:
            return None
        session, _ = source.sessions[0]
        self._look_for_stalls(source, session)
        return session.newest()

    def _look_for_stalls(self, source: Source, session: Session) -> None:
        """Says which streams stall while others go on, and which are back; of a frozen source its thread will say."""
        now = session.stalled()
        if session.over or session.duration is not None:
            return
        if now and session.is_frozen:
            source.state = STALLED
            return
        if source.state == STALLED:
            source.state = RUNNING
        for name in sorted(now - source.stalled):
            self._say(f'{source.name}: {name} has stalled and is absent')
        for name in sorted(source.stalled - now):
            self._say(f'{source.name}: {name} is back')
        source.stalled = now

    def _is_over(self, source: Source) -> bool:
        """Whether the connection has nothing left to be judged."""
        return bool(source.sessions) and source.sessions[0][0].drained

    def _judge_all(self, ready: Sequence[tuple[Source, Window]]) -> None:
        said = self._judge([window for _, window in ready])
        for (source, window), (levels, present) in zip(ready, said, strict=True):
            connection = self._connection(source)
            for name, follower in connection.followers.items():
                self._tell(source, connection, follower.judged(
                    levels[name], window.start, self._judge.window, window.start + self._stride, present))
            source.delay = time.monotonic() - connection.session.arrived

    def _connection(self, source: Source) -> _Connection:
        """That of the window that is judged."""
        if source not in self._connections:
            session, recorder = source.sessions[0]
            self._connections[source] = _Connection(session, recorder, {
                name: Follower(source.name, name, rules, wall=session.wall, speed=session.speed)
                for name, rules in self._rules.items()})
        return self._connections[source]

    def _end(self, source: Source) -> None:
        """Ends a connection, and the alarms of it."""
        connection = self._connections.pop(source, None)
        if connection is not None:
            for follower in connection.followers.values():
                self._tell(source, connection, follower.finish())
        with self._changed:
            session, recorder = source.sessions.pop(0)
            source.stalled = set()
        session.close()
        recorder.finish()

    def _tell(self, source: Source, connection: _Connection, messages: Sequence[Alarm]) -> None:
        for message in messages:
            if self._clips is not None and message.state == START:
                path = self._clips / f'{message.id}{connection.recorder.suffix}'
                self._evidence[message.id] = str(path)
                connection.recorder.begin(message.id, path, message.start - self._before)
            evidence = self._evidence.get(message.id, '')
            if message.state == END:
                connection.recorder.end(message.id, message.end)
                self._evidence.pop(message.id, None)
            told = dataclasses.replace(message, evidence=evidence)
            with self._changed:
                self._begun[source.name] += told.state == START
                self._alarms[told.id] = told
                while len(self._alarms) > _LAST_ALARMS:
                    self._alarms.popitem(last=False)
            try:
                self._tell_others(told)
            except OSError as error:  # A full disk does not end the watch.
                self._say(f'{source.name}: an alarm cannot be told: {error.strerror}')


def schedule_of(judge: Judge, stride: float, stall: float) -> Schedule:
    """The windows of a run; a stride of 0 is the window's length."""
    return Schedule(judge.window, stride or judge.window, stall)


def rules_of(judge: Judge, names: Sequence[str], changes: Mapping[str, float]) -> dict[str, Rules]:
    """The rules of the outputs that are to raise alarms.

    Args:
      judge: of the run.
      names: the outputs; may be left out where there is one.
      changes: what differs from the run's rules.

    Raises:
      UserError: for an output that is not there, none of several, thresholds that are no pair, or none for a number.
    """
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
