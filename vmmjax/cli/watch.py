r"""Watches live streams with a run that was trained here, and raises alarms.

  vmmjax watch rtsp://camera/1 --weights=runs/fights --alarm=fight --output=watched
  vmmjax watch door=rtsp://10.0.0.7/live hall=udp://0.0.0.0:5000 --weights=runs/fights --alarm=fight --high=0.8
  vmmjax watch recording.mp4 --weights=runs/events --speed=0
  vmmjax watch rtsp://camera/1 --weights=runs/gestures --alarm=wave --streaming    # uni-directional TSM, frame by frame
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

import contextlib
import json
import signal
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from vmmjax.cli import live
from vmmjax.errors import UserError

POSITIONAL = 'SOURCE...'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of a run, or a bundle.')
OUTPUT = flags.DEFINE_string('output', None, 'Folder for the log and the clips of alarms; made where it is not there.')
BEFORE = flags.DEFINE_float('before', 5.0, 'Seconds of a clip before its alarm.', lower_bound=0)
AFTER = flags.DEFINE_float('after', 5.0, 'Seconds of a clip after its alarm.', lower_bound=0)
WEBHOOK = flags.DEFINE_string('webhook', None, 'Address that alarms are posted to; needs --output, where they wait.')
MQTT = flags.DEFINE_string('mqtt', None, 'Address and topic of an MQTT broker, mqtt://HOST:PORT/TOPIC, that alarms are '
                           'published to; needs --output, where they wait, and the extra mqtt.')
PAGE = flags.DEFINE_string('page', None, 'HOST:PORT of a page with the last alarms, and of /metrics; 127.0.0.1 without '
                           'a host.')

_LEFT = 2.0  # Seconds in which what waits is still sent when the command ends.


def main(given: list[str]) -> None:
    """The command."""
    if not WEIGHTS.value:
        raise UserError('--weights is missing: name the folder of a run.')
    if live.STREAMING.value and live.STRIDE.value:
        raise UserError('With --streaming every frame is judged, as the one that follows the last; leave --stride out.')
    for flag, value in (('webhook', WEBHOOK.value), ('mqtt', MQTT.value)):
        if value and not OUTPUT.value:
            raise UserError(f'--{flag} needs --output, where alarms wait while it cannot be reached.')
    from vmmjax.convert.bundle import is_run
    from vmmjax.serving.live import mqtt, source, webhook

    if not is_run(Path(WEIGHTS.value)):
        raise UserError(f'{WEIGHTS.value} is no folder of a run; watching needs one that `vmmjax train` made.')
    source.check(given)
    if WEBHOOK.value:
        webhook.check(WEBHOOK.value)
    if MQTT.value:
        mqtt.check(MQTT.value)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    _watch(given, stop, Path(OUTPUT.value) if OUTPUT.value else None)


def _watch(given: Sequence[str], stop: threading.Event, output: Path | None) -> None:
    from vmmjax.experiment import Experiment
    from vmmjax.serving.live.alarm import Alarm, to_each
    from vmmjax.serving.live.log import Log
    from vmmjax.serving.live.mqtt import Mqtt
    from vmmjax.serving.live.outbox import Outbox
    from vmmjax.serving.live.page import Page
    from vmmjax.serving.live.webhook import Webhook
    from vmmjax.training import workdir

    outboxes: list[Outbox] = []
    ways: list[Callable[[Alarm], None]] = []
    tell = to_each(ways, live.say)

    def hear(source: str, start: float, end: float, sentence: Mapping[str, Any]) -> None:
        for text, confidence in sentence['named'][:1]:
            if text:
                print(json.dumps({'source': source, 'start': round(start, 3), 'end': round(end, 3), 'text': text,
                                  'confidence': confidence, 'words': sentence['words']}), flush=True)

    watcher = live.monitor(
        Experiment.load(str(WEIGHTS.value)), given, stop, tell, before=BEFORE.value, after=AFTER.value,
        clips=None if output is None else output / 'clips', waiting=lambda: sum(outbox.waiting for outbox in outboxes),
        hear=hear)
    with contextlib.ExitStack() as parts:
        page = Page(PAGE.value, watcher.status) if PAGE.value else None
        if page is not None:
            parts.callback(page.close)
        left: list[Alarm] = []
        if output is not None:  # Only now, so that what is refused leaves no folder behind.
            parts.enter_context(workdir.hold(output))
            log = Log(output / 'alarms.jsonl')
            parts.callback(log.close)
            left = log.left_open()
            ways.append(log.write)
            if WEBHOOK.value:
                outboxes.append(Webhook(WEBHOOK.value, output / 'spool', lambda text: live.say(f'webhook: {text}')))
            if MQTT.value:
                outboxes.append(Mqtt(MQTT.value, output / 'spool_mqtt', lambda text: live.say(f'mqtt: {text}')))
            for outbox in outboxes:
                parts.callback(outbox.close, _LEFT)
                ways.append(outbox.post)
        ways.append(lambda alarm: print(json.dumps(alarm.to_json()), flush=True))
        for alarm in left:
            tell(alarm)
        if page is not None:
            live.say(f'see {page.address}')
        watcher.run(stop)
        for source in watcher.status()['sources']:
            live.say(f'{source["name"]}: {source["frames"]} frames, {source["used"]} used, {source["dropped"]} '
                     f'dropped; {source["windows"]} windows judged, {source["windows_dropped"]} not; '
                     f'{source["alarms"]} alarms')
