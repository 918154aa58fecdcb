"""What commands that judge live sources share: flags of windows and alarms, and the monitor that they make."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

if TYPE_CHECKING:
    from vmmjax.experiment import Experiment
    from vmmjax.serving.live.alarm import Alarm
    from vmmjax.serving.live.monitor import Monitor

ALARM = flags.DEFINE_list('alarm', [], 'Classes that raise an alarm; not needed where there is one.')
HIGH = flags.DEFINE_float('high', None, 'An alarm begins at this probability, or number of a regression.')
LOW = flags.DEFINE_float('low', None, 'It lasts as long as the value is at least this.')
MINIMUM = flags.DEFINE_float('minimum', None, 'Seconds; shorter ones are none.', lower_bound=0)
COOL_DOWN = flags.DEFINE_float('cool_down', None, 'Seconds after an alarm without another.', lower_bound=0)
WINDOW = flags.DEFINE_float('window', 0.0, 'Seconds of a window, of a run that looks at whole clips.', lower_bound=0)
STRIDE = flags.DEFINE_float('stride', 0.0, 'Seconds from window to window; a window unless given.', lower_bound=0)
STALL = flags.DEFINE_float('stall', 2.0, 'Seconds without frames after which a stream is absent.', lower_bound=0.1)
SPEED = flags.DEFINE_float('speed', 1.0, 'How fast files are played; 0 for as fast as they are judged, without '
                           'dropping a window.', lower_bound=0)
STREAMING = flags.DEFINE_bool('streaming', False, 'Give the network one frame after the other, with what it carries '
                              'from one to the next, without --stride; of a run that looks at the past alone.')

_SLACK = 10.0  # Seconds of packets beyond those of a clip: for windows that are judged late.


def monitor(run: 'Experiment', given: Sequence[str], stop: threading.Event, tell: Callable[['Alarm'], None], *,
            clips: Path | None = None, before: float = 0.0, after: float = 0.0,
            waiting: Callable[[], int] = lambda: 0,
            hear: Callable[[str, float, float, Mapping[str, Any]], None] = lambda *_: None) -> 'Monitor':
    """A monitor of sources, as the flags have it, that has not begun.

    Args:
      run: with its parameters.
      given: the sources.
      stop: ends it.
      tell: is given every message of an alarm.
      clips: folder for a clip of every alarm; None for none.
      before: seconds of a clip before its alarm.
      after: seconds of it after it.
      waiting: how many messages are not sent yet.
      hear: is given every sentence of a run that writes texts: the source, the start and the end of its window in
        seconds, and `Task.reading`.

    Raises:
      UserError: for a run that cannot be live, and for thresholds that are none.
    """
    from vmmjax.serving.live.frames import FrameJudge
    from vmmjax.serving.live.judge import Judge, rules_of
    from vmmjax.serving.live.monitor import Monitor
    from vmmjax.serving.live.session import Schedule
    from vmmjax.serving.live.source import Reading, Source

    judge = (FrameJudge if STREAMING.value else Judge)(run, len(given), WINDOW.value)
    rules = rules_of(judge, ALARM.value, _changes())
    # A frame follows the last; a stride is of the files that a page is sent, then.
    stride = judge.window if STREAMING.value else STRIDE.value or judge.window
    schedule = Schedule(judge.window, stride, STALL.value)
    longest = max((rule.minimum for rule in rules.values()), default=0.0)
    reading = Reading(judge.columns, schedule, SPEED.value,
                      before + longest + 2 * (schedule.window + schedule.stride) + _SLACK, after)
    changed = threading.Condition()
    sources = [Source(each, reading, changed, stop, say) for each in given]
    say(f'watching {", ".join(source.name for source in sources)} for {", ".join(rules) or "sentences"}')
    return Monitor(
        judge, sources, rules, stride=schedule.stride, changed=changed, tell=tell, say=say, clips=clips, before=before,
        waiting=waiting,
        hear=lambda source, window, sentence: hear(source, window.start, window.start + judge.window, sentence))


def say(text: str) -> None:
    """One line on standard error, with the time; nothing where nobody reads it, for that ends no thread."""
    with contextlib.suppress(OSError):
        print(f'{time.strftime("%Y-%m-%dT%H:%M:%S")} {text}', file=sys.stderr, flush=True)


def _changes() -> dict[str, float]:
    """What the flags change of the rules."""
    given: dict[str, Any] = {'high': HIGH.value, 'low': LOW.value, 'minimum': MINIMUM.value,
                             'cool_down': COOL_DOWN.value}
    return {name: value for name, value in given.items() if value is not None}
