"""The loop that judges the newest windows of all sources, and tells of the alarms."""

import collections
import dataclasses
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vmmjax.serving.live.alarm import END, START, Alarm, Follower
from vmmjax.serving.live.evidence import Recorder
from vmmjax.serving.live.frames import FrameJudge
from vmmjax.serving.live.judge import Judge
from vmmjax.serving.live.session import Session
from vmmjax.serving.live.source import RUNNING, STALLED, Source
from vmmjax.serving.live.windows import Window
from vmmjax.tasks.alarms import Rules

_LAST_ALARMS = 50  # On the page.
_POLL = 0.2  # Seconds from one look for streams that stall to the next.


@dataclasses.dataclass
class _Connection:
    """The connection of a source that is judged now, and who follows its classes."""

    session: Session
    recorder: Recorder
    followers: dict[str, Follower]


class Monitor:
    """Judges, follows and tells until every source has ended or it is stopped."""

    def __init__(self, judge: Judge | FrameJudge, sources: Sequence[Source], rules: Mapping[str, Rules], *,
                 stride: float, changed: threading.Condition, tell: Callable[[Alarm], None],
                 say: Callable[[str], None], clips: Path | None, before: float, waiting: Callable[[], int],
                 hear: Callable[[str, Window, Mapping[str, Any]], None] = lambda *_: None) -> None:
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
          hear: is given the name of a source, a window and its sentence, of a judge that writes.
        """
        self._judge, self._sources, self._rules, self._stride = judge, sources, dict(rules), stride
        self._changed, self._tell_others, self._say = changed, tell, say
        self._clips, self._before, self._waiting, self._hear = clips, before, waiting, hear
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
        said = self._judge([window for _, window in ready],
                           [(source.name, source.sessions[0][0]) for source, _ in ready])
        for (source, window), (levels, present, sentence) in zip(ready, said, strict=True):
            connection = self._connection(source)
            if sentence is not None:
                try:
                    self._hear(source.name, window, sentence)
                except OSError as error:  # An output that nobody reads does not end the watch.
                    self._say(f'{source.name}: a sentence cannot be told: {error.strerror}')
            for name, follower in connection.followers.items():
                follower.wall = connection.session.wall
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
