"""Alarms of one class of one source: found while windows are judged, and told of."""

import dataclasses
import uuid
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from vmmjax.tasks.alarms import Levels, Rules, Span, Timeline, Tracker

# Seconds of an alarm from one message of it to the next while it lasts.
_UPDATES = 10.0
# Seconds in which no window was judged that do not end an alarm.
_UNSEEN = 30.0
START, UPDATE, END = 'start', 'update', 'end'


@dataclasses.dataclass(frozen=True)
class Alarm:
    """What is known of an alarm: one message.

    Attributes:
      id: the same in all messages of an alarm, and of no other one.
      number: of the message, from 0 on; who has seen an `id` and `number` has seen the message.
      state: `start`, `update` or `end`.
      source: its name.
      label: what was seen, the name of an output.
      start: seconds on the source's clock, of a file from its first picture.
      end: likewise; as far as is known.
      time: of the start, UTC, as ISO 8601.
      peak: the highest value.
      present: the streams that were there.
      evidence: the clip, which is whole some seconds after the end; empty where none is kept.
    """

    id: str
    number: int
    state: str
    source: str
    label: str
    start: float
    end: float
    time: str
    peak: float
    present: Sequence[str]
    evidence: str = ''

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values; `label` is `class`, as nothing may be called in Python."""
        found = {**dataclasses.asdict(self), 'start': round(self.start, 3), 'end': round(self.end, 3),
                 'present': list(self.present)}
        return {('class' if key == 'label' else key): value for key, value in found.items()}

    @classmethod
    def from_json(cls, values: Any) -> 'Alarm':
        """What `to_json` gave.

        Raises:
          TypeError: for values that are no object, or of another one.
        """
        if not isinstance(values, dict):
            raise TypeError('no object')
        return cls(**{('label' if key == 'class' else key): value for key, value in values.items()})


def to_each(ways: Sequence[Callable[[Alarm], None]], say: Callable[[str], None]) -> Callable[[Alarm], None]:
    """Tells a message in several ways, one after the other; one that fails holds up none of the others.

    Args:
      ways: of telling; those that come later are used, too.
      say: is told in one line which message could not be told.
    """
    def tell(alarm: Alarm) -> None:
        for way in ways:
            try:
                way(alarm)
            except OSError as error:  # A full disk, or an output that nobody reads, does not end the watch.
                say(f'{alarm.source}: an alarm cannot be told: {error.strerror}')

    return tell


class Follower:
    """Follows one class of one connection.

    Attributes:
      wall: seconds since 1970 at the clock's zero; of a live stream it is known better with every frame, and the alarms
        that begin after it is set go by it.
    """

    def __init__(self, source: str, label: str, rules: Rules, *, wall: float, speed: float) -> None:
        """Begins a connection.

        Args:
          source: its name.
          label: the class.
          rules: of alarms.
          wall: see the attribute.
          speed: seconds of the clock in a second; 0 where they have no relation.
        """
        self.wall = wall
        self._source, self._label, self._speed = source, label, speed or 1.0
        self._timeline, self._tracker = Timeline(), Tracker(rules)
        self._seen = 0.0  # The end of the last window.
        self._told: Alarm | None = None  # The newest message of the alarm that lasts.

    def judged(self, levels: Sequence[Levels], start: float, length: float, until: float, present: Sequence[str]
               ) -> list[Alarm]:
        """Takes a window.

        Args:
          levels: what was said of it, of one window each: one, or one of each test view.
          start: of the window, seconds on the source's clock.
          length: seconds.
          until: where the next one begins at the earliest.
          present: the streams that it has.

        Returns:
          The messages that follow, in order.
        """
        found = self._follow(self._timeline.flush(start), present)
        if 0 < start - self._seen <= _UNSEEN:
            self._tracker.pass_over(self._seen, start)
        for level in levels:
            # Views of one window count alike: none is told of before the last.
            told = until if level is levels[-1] else start
            found += self._follow(self._timeline.add(level.values[0], level.mask[0], start, length, told), present)
        self._seen = start + length
        return found

    def finish(self) -> list[Alarm]:
        """Ends the connection, and with it the alarm that lasts; the messages that follow."""
        present = () if self._told is None else self._told.present
        found = self._follow(self._timeline.flush(), present)
        ended = self._tracker.finish()
        return [*found, self._message(END, ended, present)] if ended is not None else found

    def _follow(self, moments: Sequence[Span], present: Sequence[str]) -> list[Alarm]:
        found = []
        for moment in moments:
            ended = self._tracker.add(moment)
            if ended is not None:
                found.append(self._message(END, ended, present))
            alarm = self._tracker.alarm
            if alarm is not None and self._told is None:
                found.append(self._message(START, alarm, present))
            elif alarm is not None and self._told is not None and alarm.end - self._told.end >= _UPDATES:
                found.append(self._message(UPDATE, alarm, present))
        return found

    def _message(self, state: str, span: Span, present: Sequence[str]) -> Alarm:
        told = self._told
        if told is None:
            begun = datetime.fromtimestamp(self.wall + span.start / self._speed, UTC).isoformat(timespec='milliseconds')
        else:
            begun = told.time
        message = Alarm(uuid.uuid4().hex if told is None else told.id, 0 if told is None else told.number + 1, state,
                        self._source, self._label, span.start, span.end, begun, span.value, tuple(present))
        self._told = None if state == END else message
        return message
