r"""Watches live streams with a run that was trained here, and raises alarms.

  vmmjax watch rtsp://camera/1 --weights=runs/fights --alarm=fight --output=watched
  vmmjax watch door=rtsp://10.0.0.7/live hall=udp://0.0.0.0:5000 --weights=runs/fights --alarm=fight --high=0.8
  vmmjax watch recording.mp4 --weights=runs/events --speed=0
  vmmjax watch rtsp://camera/1 --weights=runs/fights --alarm=fight --webhook=https://example.org/alarms --page=:8000

A source is an RTSP address, an MPEG-TS stream over TCP, UDP or HTTP, an HLS playlist, a file (played as fast as it was
recorded), or a folder whose new files are judged as they come; a name before it, as in door=rtsp://..., is used in
what is told. Several are judged at once. The newest window is judged, and what was dropped is counted. A source that
is lost is tried again for ever; a stream of it that stalls, such as its sound, is absent, and the others go on.

Every alarm is a JSON object a line on standard output when it starts, while it lasts, and when it ends; with --output
in the log alarms.jsonl of that folder, too, beside a clip of each. Thresholds are those of the run's task unless given.

Of a run that writes texts the sentence of each window is such a line as it comes, with its confidence and its words;
one that reaches from a window into the next is cut, so choose a --stride shorter than a window where that matters.
"""

import json
import signal
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from vmmjax.convert.bundle import is_run
from vmmjax.errors import UserError

POSITIONAL = 'SOURCE...'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of a run, or a bundle.')
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
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the log and the clips of alarms; made where it is not there.')
BEFORE = flags.DEFINE_float('before', 5.0, 'Seconds of a clip before its alarm.', lower_bound=0)
AFTER = flags.DEFINE_float('after', 5.0, 'Seconds of a clip after its alarm.', lower_bound=0)
WEBHOOK = flags.DEFINE_string('webhook', None, 'Address that alarms are posted to; needs --output, where they wait.')
PAGE = flags.DEFINE_string('page', None, 'HOST:PORT of a page with the last alarms, and of /metrics; 127.0.0.1 without '
                           'a host.')

_SLACK = 10.0  # Seconds of packets beyond those of a clip: for windows that are judged late.
_LEFT = 2.0  # Seconds in which what waits is still sent when the command ends.


def main(given: list[str]) -> None:
    """The command."""
    if not WEIGHTS.value:
        raise UserError('--weights is missing: name the folder of a run.')
    if WEBHOOK.value and not (OUTPUT.value and WEBHOOK.value.startswith(('http://', 'https://'))):
        raise UserError('--webhook takes an address that begins with http:// or https://, and needs --output, where '
                        'alarms wait while it cannot be reached.')
    if not is_run(Path(WEIGHTS.value)):
        raise UserError(f'{WEIGHTS.value} is no folder of a run; watching needs one that `vmmjax train` made.')
    # It brings the decoders along, which --help need not wait for.
    from vmmjax.serving.live import source

    source.check(given)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    if OUTPUT.value:
        from vmmjax.training import workdir

        with workdir.hold(Path(OUTPUT.value)):
            _watch(given, stop, Path(OUTPUT.value))
    else:
        _watch(given, stop, None)


def _watch(given: Sequence[str], stop: threading.Event, output: Path | None) -> None:
    # They bring the whole library along, which a sentence about a flag need not wait for.
    from vmmjax.experiment import Experiment
    from vmmjax.serving.live.alarm import Alarm
    from vmmjax.serving.live.judge import Judge, rules_of
    from vmmjax.serving.live.log import Log
    from vmmjax.serving.live.monitor import Monitor
    from vmmjax.serving.live.page import Page
    from vmmjax.serving.live.session import Schedule
    from vmmjax.serving.live.source import Reading, Source
    from vmmjax.serving.live.webhook import Webhook
    from vmmjax.serving.live.windows import Window

    judge = Judge(Experiment.load(str(WEIGHTS.value)), len(given), WINDOW.value)
    rules = rules_of(judge, ALARM.value, _changes())
    schedule = Schedule(judge.window, STRIDE.value or judge.window, STALL.value)
    longest = max((rule.minimum for rule in rules.values()), default=0.0)
    reading = Reading(judge.columns, schedule, SPEED.value,
                      BEFORE.value + longest + 2 * (schedule.window + schedule.stride) + _SLACK, AFTER.value)
    changed = threading.Condition()
    sources = [Source(each, reading, changed, stop, _say) for each in given]
    log = None if output is None else Log(output / 'alarms.jsonl')
    webhook = None
    if WEBHOOK.value and output is not None:
        webhook = Webhook(WEBHOOK.value, output / 'spool', lambda text: _say(f'webhook: {text}'))

    def tell(alarm: Alarm) -> None:
        print(json.dumps(alarm.to_json()), flush=True)
        if log is not None:
            log.write(alarm)
        if webhook is not None:
            webhook.post(alarm)

    def hear(source: str, window: Window, sentence: Mapping[str, Any]) -> None:
        for text, confidence in sentence['named'][:1]:
            if text:
                print(json.dumps({
                    'source': source, 'start': round(window.start, 3), 'end': round(window.start + judge.window, 3),
                    'text': text, 'confidence': confidence, 'words': sentence['words']}), flush=True)

    watcher = Monitor(
        judge, sources, rules, stride=schedule.stride, changed=changed, tell=tell, say=_say,
        clips=None if output is None else output / 'clips', before=BEFORE.value,
        waiting=lambda: 0 if webhook is None else webhook.waiting, hear=hear)
    page = Page(PAGE.value, watcher.status) if PAGE.value else None
    try:
        for alarm in log.left_open() if log is not None else ():
            tell(alarm)
        where = f'; see {page.address}' if page is not None else ''
        _say(f'watching {", ".join(source.name for source in sources)} for {", ".join(rules) or "sentences"}{where}')
        watcher.run(stop)
        for source in watcher.status()['sources']:
            _say(f'{source["name"]}: {source["frames"]} frames, {source["used"]} used, {source["dropped"]} dropped; '
                 f'{source["windows"]} windows judged, {source["windows_dropped"]} not; {source["alarms"]} alarms')
    finally:
        for part in (page, log):
            if part is not None:
                part.close()
        if webhook is not None:
            webhook.close(_LEFT)


def _changes() -> dict[str, float]:
    """What the flags change of the rules."""
    given: dict[str, Any] = {'high': HIGH.value, 'low': LOW.value, 'minimum': MINIMUM.value,
                             'cool_down': COOL_DOWN.value}
    return {name: value for name, value in given.items() if value is not None}


def _say(text: str) -> None:
    """One line, with the time."""
    print(f'{time.strftime("%Y-%m-%dT%H:%M:%S")} {text}', file=sys.stderr, flush=True)
