"""Sources and sessions without a monitor."""

import threading

import av

from tests.serving.live import lights
from vmmjax.prepare.audio_columns import Audio
from vmmjax.prepare.columns import Rgb
from vmmjax.serving.live.session import Counts, Schedule, Session
from vmmjax.serving.live.source import Reading, Source

COLUMNS = {'rgb': Rgb(fps=lights.FPS, short_side=16), 'audio': Audio(audio_rate=lights.RATE, fmax=3800.0, bands=8)}


def schedule(window=2.0, stride=2.0, stall=60.0):
    return Schedule(window, stride, stall)


def session(counts=None, columns=COLUMNS, **options):
    """A session, and what it was made of."""
    how = schedule(**{key: options.pop(key) for key in ('window', 'stride', 'stall') if key in options})
    return Session(columns, how, counts or Counts(), threading.Condition(), wall=0.0, **options)


def decoded(path):
    """(seconds, frame, whether it is a picture) of a file, in the order of their time."""
    with av.open(str(path)) as container:
        found = [(frame.time, frame, isinstance(frame, av.VideoFrame)) for frame in container.decode()]
    return sorted(found, key=lambda each: each[0])


def windows_of(given, speed=0.0, columns=COLUMNS, **options):
    """All windows of a source that ends, and the source."""
    changed, stop, said, found = threading.Condition(), threading.Event(), [], []
    source = Source(str(given), Reading(columns, schedule(**options), speed, 1.0, 1.0), changed, stop, said.append)
    source.start()
    while source.is_alive() or source.sessions:
        window = source.sessions[0][0].newest() if source.sessions else None
        if window is not None:
            found.append(window)
        elif source.sessions and source.sessions[0][0].drained:
            source.sessions.pop(0)
        else:
            stop.wait(0.01)
    return found, source, said
