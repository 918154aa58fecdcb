r"""Serves one page in the browser: drop a video or a sound, and see what a run says of it and why.

  vmmjax serve --weights=runs/mine                                # http://127.0.0.1:8000/
  vmmjax serve --weights=mine.vmm --page=:8123 --most_mb=2000
  vmmjax serve --weights=runs/whole_clips --window=2 --stride=0.5
  vmmjax serve door=rtsp://camera/1 --weights=runs/fights --alarm=fight

The page shows the file with the probabilities of the classes over time under it, window after window (--stride seconds
apart; of a run that looks at whole clips one window, or --window seconds each), waveform and log-mel on the same axis,
what each stream contributed (exact Shapley values), where and when in each stream (HiResCAM) as an overlay, and all
numbers as JSON. Sources, as `vmmjax watch` takes them, are judged meanwhile, and have a tab of their own.

Files go into a temporary folder that is removed at the end, and are judged one after another. The page loads nothing
from elsewhere. It listens on 127.0.0.1 unless told otherwise, and has no password: another host in --page shows it to
everyone who reaches that address. Ctrl-C or SIGTERM ends the command.
"""

import contextlib
import json
import signal
import tempfile
import threading
from pathlib import Path

from absl import flags

from vmmjax.cli import live
from vmmjax.errors import UserError

POSITIONAL = '[SOURCE...]'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of a run, or a bundle.')
PAGE = flags.DEFINE_string('page', '127.0.0.1:8000', 'HOST:PORT of the page; 127.0.0.1 without a host, port 0 for any '
                           'that is free.')
MOST_MB = flags.DEFINE_integer('most_mb', 500, 'Megabytes of a file at most.', lower_bound=1)


def main(given: list[str]) -> None:
    """The command."""
    from vmmjax.convert.bundle import is_run

    if not WEIGHTS.value or not is_run(Path(WEIGHTS.value)):
        raise UserError(f'{WEIGHTS.value or "--weights"} is no folder of a run; name one that `vmmjax train` made, or '
                        f'a bundle of `vmmjax export`, as --weights.')
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    from vmmjax.experiment import Experiment
    from vmmjax.pipeline.windows import WindowSpec
    from vmmjax.reports import serve_page
    from vmmjax.reports.served_clip import LONGEST, ServedClip
    from vmmjax.serving.live import source
    from vmmjax.serving.live.alarm import Alarm
    from vmmjax.serving.web.jobs import Jobs
    from vmmjax.serving.web.server import Server
    from vmmjax.tasks import Task
    from vmmjax.training.runtime import keep_compiled

    source.check(given)
    keep_compiled()
    run = Experiment.load(WEIGHTS.value)
    if type(run.task).reading is Task.reading:
        raise UserError(f'{WEIGHTS.value} is a run of the task {run.task.name}, which predicts nothing of one clip '
                        f'each; serve one that does, such as of classification.')
    own = float(run.config.data.window.seconds)
    if own and live.WINDOW.value:
        raise UserError(f'The run looks at windows of {own:g} s, and so does the page; leave --window out.')
    if live.STRIDE.value and not (own or live.WINDOW.value):
        raise UserError('The run looks at whole clips, which have no --stride; say how many seconds a window has, too: '
                        '--window=2.')
    cut = WindowSpec(own or live.WINDOW.value, live.STRIDE.value)

    def tell(alarm: Alarm) -> None:
        print(json.dumps(alarm.to_json()), flush=True)

    watcher = live.monitor(run, given, stop, tell) if given else None
    most = MOST_MB.value * 1_000_000
    page = serve_page.page(Path(WEIGHTS.value).resolve().name, most_bytes=most, longest=LONGEST,
                           live=watcher is not None)
    with (tempfile.TemporaryDirectory(prefix='vmmjax-serve-', ignore_cleanup_errors=True) as folder,
          contextlib.closing(Jobs(Path(folder), ServedClip(run, cut), live.say)) as jobs,
          contextlib.closing(Server(PAGE.value, jobs, page=page, policy=serve_page.policy(page), most_bytes=most,
                                    live=lambda: None if watcher is None else watcher.status())) as server):
        live.say(f'see {server.address}')
        if server.is_open:
            live.say('everyone who reaches this address can send files to it; it has no password')
        if watcher is not None:
            watcher.run(stop)
        stop.wait()
