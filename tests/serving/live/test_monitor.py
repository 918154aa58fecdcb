import threading
import time
from types import SimpleNamespace

import av
import pytest

from tests.serving.live import lights, reading
from vmmjax.serving.live.judge import Judged, rules_of
from vmmjax.serving.live.monitor import Monitor
from vmmjax.serving.live.source import Reading, Source
from vmmjax.serving.live.windows import Window


def watched(judge, paths, clips=None, speed=0.0, said=None, **options):
    """All messages of a monitor that ends by itself, and its status then."""
    changed, stop, told = threading.Condition(), threading.Event(), []
    said = [] if said is None else said
    how = Reading(reading.COLUMNS, reading.schedule(**options), speed, keep=30.0, after=1.0)
    monitor = Monitor(judge, [Source(str(path), how, changed, stop, said.append) for path in paths],
                      rules_of(judge, [], {}), stride=how.schedule.stride, changed=changed, tell=told.append,
                      say=said.append, clips=clips, before=1.0, waiting=lambda: 0)
    monitor.run(stop)
    return told, monitor.status()


def test_a_file_gives_the_alarms_of_evaluate(films, run, judge):
    told, status = watched(judge, [films / name for name in lights.EVENTS])
    expected = run.evaluate('test').alarms
    assert len(expected) == 3
    ended = sorted((alarm for alarm in told if alarm.state == 'end'), key=lambda alarm: (alarm.source, alarm.start))
    for alarm, other in zip(ended, expected, strict=True):
        assert alarm.source.endswith(other['clip'])
        assert (alarm.start, alarm.end) == pytest.approx((other['start'], other['end']), abs=1e-3)
        assert alarm.peak == pytest.approx(other['highest'], abs=1e-5)
        assert alarm.present == ('audio', 'rgb')
    assert [source['frames'] for source in status['sources']] == [120, 120]
    assert [source['used'] for source in status['sources']] == [120, 120]
    assert [source['alarms'] for source in status['sources']] == [2, 1]
    assert {source['state'] for source in status['sources']} == {'ended'}


def test_messages_of_an_alarm_belong_together(films, judge):
    told, status = watched(judge, [films / 'film.mp4'])
    first, second = ([alarm for alarm in told if alarm.id == name] for name in dict.fromkeys(a.id for a in told))
    for messages in (first, second):
        assert [alarm.state for alarm in messages] == ['start', 'end']
        assert [alarm.number for alarm in messages] == [0, 1]
    assert [alarm['id'] for alarm in status['alarms']] == [first[0].id, second[0].id]
    assert {alarm['state'] for alarm in status['alarms']} == {'end'}


def test_a_clip_holds_its_alarm_and_what_was_around(films, judge, tmp_path):
    told, _ = watched(judge, [films / 'film.mp4'], clips=tmp_path / 'clips')
    alarms = [alarm for alarm in told if alarm.state == 'end']
    assert {path.name for path in (tmp_path / 'clips').iterdir()} == {f'{alarm.id}.mp4' for alarm in alarms}
    for alarm in alarms:
        with av.open(alarm.evidence) as container:
            assert [stream.codec_context.name for stream in container.streams] == ['h264', 'aac']
            bright = [frame.to_ndarray(format='gray').mean() > 120 for frame in container.decode(video=0)]
        with av.open(alarm.evidence) as container:
            assert sum(frame.samples for frame in container.decode(audio=0)) / lights.RATE == pytest.approx(
                len(bright) / lights.FPS, abs=0.6)
        first, count = bright.index(True), round((alarm.end - alarm.start) * lights.FPS)
        assert bright[first:first + count + 1] == [True] * count + [False]
        # The group of pictures that the second before the alarm lies in begins no more than .5 s earlier.
        assert lights.FPS <= first <= 1.5 * lights.FPS + 1
        # Its end was known only when a later window had been judged.
        assert lights.FPS <= len(bright) - first - count <= (1 + 2 * lights.WINDOW) * lights.FPS


def test_frames_of_a_slow_network_are_used_or_dropped(films, judge):
    class Slow:
        def __getattr__(self, name):
            return getattr(judge, name)

        def __call__(self, windows, connections):
            time.sleep(.5)
            return judge(windows, connections)

    _, status = watched(Slow(), [films / 'film.mp4'], speed=20.0, window=judge.window, stride=0.5)
    (source,) = status['sources']
    assert source['frames'] == 120 == source['used'] + source['dropped']
    assert source['windows_dropped'] > 0
    assert source['windows'] + source['windows_dropped'] == 21


def test_what_cannot_be_read_is_one_line(films, judge, tmp_path):
    (tmp_path / 'damaged.mp4').write_bytes((films / 'film.mp4').read_bytes()[:2000])
    said = []
    told, status = watched(judge, [tmp_path / 'damaged.mp4', films / 'other.mp4'], said=said)
    assert len([line for line in said if 'damaged.mp4' in line]) == 1
    assert [source['faults'] for source in status['sources']] == [1, 0]
    assert [alarm.state for alarm in told] == ['start', 'end']


def test_one_line_says_that_a_stream_has_stalled_and_none_that_all_have(films, judge):
    """The sound of a connection stops, then comes again, then everything stops."""
    source = SimpleNamespace(name='door', state='running', stalled=set())
    said = []
    monitor = Monitor(judge, [], {}, stride=2.0, changed=threading.Condition(), tell=said.append, say=said.append,
                      clips=None, before=1.0, waiting=lambda: 0)
    session = reading.session(stall=2.0)
    pictures = [each for each in reading.decoded(films / 'film.mp4') if each[2]]
    sounds = [each for each in reading.decoded(films / 'film.mp4') if not each[2]]

    def go_on(count, hears):
        for place in range(count):
            session.take(*pictures[go_on.place + place])
            if hears:
                session.take(*sounds[go_on.place + place])
            monitor._look_for_stalls(source, session)
            time.sleep(.2)
        go_on.place += count

    go_on.place = 0
    go_on(5, hears=True)
    assert said == []
    go_on(12, hears=False)
    assert (said, source.state, source.stalled) == (['door: audio has stalled and is absent'], 'running', {'audio'})
    go_on(5, hears=True)
    assert said[1:] == ['door: audio is back']
    end = time.monotonic() + 60
    while source.state != 'stalled':
        assert time.monotonic() < end
        monitor._look_for_stalls(source, session)
        time.sleep(.02)
    assert len(said) == 2


def test_a_sentence_that_nobody_reads_does_not_end_the_watch():
    said = []

    def hear(*_):
        raise BrokenPipeError(32, 'Broken pipe')

    monitor = Monitor(lambda windows, _: [Judged({}, [], {'named': []}) for _ in windows], [], {}, stride=2.0,
                      changed=threading.Condition(), tell=said.append, say=said.append, clips=None, before=1.0,
                      waiting=lambda: 0, hear=hear)
    session = SimpleNamespace(wall=0.0, speed=1.0, arrived=0.0)
    source = Source('door.mp4', None, threading.Condition(), threading.Event(), print)
    source.sessions.append((session, None))
    monitor._judge_all([(source, Window(0.0, {}, {}))])
    assert said == ['door.mp4: a sentence cannot be told: Broken pipe']
    assert source.delay > 0


@pytest.mark.slow
def test_the_delay_of_a_slow_network_is_bounded(films, judge):
    """One in five windows is judged; the newest is never older than two windows when that is done."""
    speed, stride = 4.0, 0.5
    pause = 5 * stride / speed
    delays, took = [], []

    class Slow:
        def __getattr__(self, name):
            return getattr(judge, name)

        def __call__(self, windows, connections):
            began = time.monotonic()
            time.sleep(pause)
            said = judge(windows, connections)
            took.append(time.monotonic() - began)
            return said

    def changed_delay(source, name, value):
        object.__setattr__(source, name, value)
        if name == 'delay':
            delays.append(value)

    class Watched(Source):
        __setattr__ = changed_delay

    changed, stop = threading.Condition(), threading.Event()
    how = Reading(reading.COLUMNS, reading.schedule(stride=stride), speed, keep=30.0, after=1.0)
    source = Watched(str(films / 'film.mp4'), how, changed, stop, print)
    monitor = Monitor(Slow(), [source], rules_of(judge, [], {}), stride=stride, changed=changed, tell=print, say=print,
                      clips=None, before=1.0, waiting=lambda: 0)
    monitor.run(stop)
    assert len(took) >= 3
    assert source.counts.windows_dropped >= 2 * len(took)
    # On a machine that does other things, too; without windows left out each delay is a pause longer than the last.
    busy = [each - pause + 0.5 for each in took]
    assert all(delay <= 2 * lights.WINDOW / speed + late for delay, late in zip(delays[1:], busy, strict=True)), delays
    assert source.counts.frames == source.counts.used + source.counts.dropped == 120
