import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.serving.live import lights, reading
from vmmjax.media.writer import write_clip
from vmmjax.serving.live.session import Counts


@pytest.fixture(scope='module')
def frames(tmp_path_factory):
    path = tmp_path_factory.mktemp('session') / 'clip.mp4'
    pictures, sound = lights.film([(.5, 1)], seconds=6)
    write_clip(path, pictures, fps=lights.FPS, waveform=sound, rate=lights.RATE)
    return reading.decoded(path)


@given(st.lists(st.booleans(), min_size=1, max_size=80), st.sampled_from([.5, 1., 1.5, 2.]),
       st.sampled_from([.5, 1., 2., 3.]))
def test_every_frame_is_used_or_dropped(frames, moments, window, stride):
    """Windows are taken whenever the one who judges happens to be free."""
    counts = Counts()
    session = reading.session(counts, columns={'rgb': reading.COLUMNS['rgb']}, window=window, stride=stride)
    pictures = [each for each in frames if each[2]]
    starts, taken = [], 0
    for place, (seconds, frame, _) in enumerate(pictures):
        session.take(seconds, frame, True)
        while moments[place % len(moments)] and (found := session.newest()) is not None:
            starts.append(found.start)
        assert 0 <= counts.used + counts.dropped <= counts.frames == place + 1
    session.finish()
    while (found := session.newest()) is not None:
        starts.append(found.start)
    assert session.drained
    assert counts.frames == counts.used + counts.dropped == len(pictures)
    seen = [any(start <= seconds + 1e-6 < start + window for start in starts) for seconds, *_ in pictures]
    taken = sum(seen)
    assert counts.used == taken
    assert starts == sorted(set(starts))
    assert counts.windows == len(starts)
    assert counts.windows_dropped == (round(starts[-1] / stride) + 1 - len(starts) if starts else 0)


def test_the_newest_window_is_judged(frames):
    session = reading.session()
    for each in frames:
        session.take(*each)
    assert session.newest().start == 2, 'the last pictures of a stream are seen when the next one comes'
    assert session.newest() is None


def test_a_window_waits_for_every_stream_that_comes(frames):
    session = reading.session()
    for seconds, frame, is_picture in frames:
        if is_picture or seconds < 1:
            session.take(seconds, frame, is_picture)
    assert session.newest() is None


@pytest.mark.parametrize('frozen', ['audio', 'rgb'])
def test_a_stream_that_stalls_is_absent_and_the_others_go_on(frames, frozen):
    session = reading.session(stall=.3)
    for seconds, frame, is_picture in frames:
        if is_picture == (frozen == 'audio') or seconds < 3:
            session.take(seconds, frame, is_picture)
    assert frozen not in session.stalled()
    end = time.monotonic() + 30
    while (found := session.newest()) is None or found.start < 2:
        assert time.monotonic() < end
        time.sleep(.05)
    assert frozen in session.stalled()
    assert found.frames.keys() == {'rgb', 'audio'} - {frozen}


def test_what_was_sent_while_a_stream_was_opened_comes_at_once(frames):
    session = reading.session(columns={'rgb': reading.COLUMNS['rgb']})
    for each in frames:
        if each[2]:
            session.take(*each)
            newest = each[0]
    assert session.wall + newest == pytest.approx(time.time(), abs=1)


def test_no_stream_has_stalled_by_itself_where_all_were_silent(frames):
    """Such as those of a server that was stopped, of which one comes again before the other."""
    session = reading.session(stall=.3)
    for each in frames[:10]:
        session.take(*each)
    time.sleep(.4)
    assert session.stalled() == {'rgb', 'audio'}
    seconds, frame, is_picture = frames[10]
    session.take(seconds, frame, is_picture)
    assert session.stalled() == set()


def test_a_stream_that_comes_back_is_there_again(frames):
    session = reading.session(stall=.3)
    for seconds, frame, is_picture in frames:
        if is_picture or not 1 < seconds < 3:
            session.take(seconds, frame, is_picture)
    found = session.newest()
    assert (found.start, set(found.frames)) == (2, {'rgb'}), 'it was not there for the whole window'
    session = reading.session(stall=.3, stride=1)
    for seconds, frame, is_picture in frames:
        if is_picture or not 1 < seconds < 3:
            session.take(seconds, frame, is_picture)
    found = session.newest()
    assert (found.start, set(found.frames)) == (3, {'rgb', 'audio'})


def test_only_what_is_needed_lies_in_memory(frames):
    session = reading.session(columns={'rgb': reading.COLUMNS['rgb']}, window=.5, stride=.5)
    for lap in range(4):
        for seconds, frame, is_picture in frames:
            if is_picture:
                session.take(6 * lap + seconds, frame, True)
        (track,) = session._tracks.values()
        assert track.ring.end - track.ring.first <= 2.2 * lights.FPS


def test_what_waits_when_nobody_judges_any_more_is_dropped(frames):
    counts = Counts()
    session = reading.session(counts)
    for each in frames:
        session.take(*each)
    assert session.newest() is not None
    session.close()
    assert counts.used == 20
    assert counts.frames == counts.used + counts.dropped == 60
    session.take(*frames[-1])
    assert counts.frames == 60


def test_a_stream_that_ends_within_a_window_is_not_judged_by_its_sound_alone(frames):
    session = reading.session()
    for each in frames:
        session.take(*each)
    session.finish()
    found = session.newest()
    assert found.start == 2, 'the last picture of the window at 4 s is not there'
    assert set(found.frames) == {'rgb', 'audio'}
    assert session.newest() is None
    assert session.drained


def test_the_end_of_a_file_is_a_window_that_is_not_full(frames):
    session = reading.session(speed=0, duration=5.0)
    for each in frames:
        session.take(*each)
    session.finish()
    assert [session.newest().start for _ in range(3)] == [0, 2, 4]
    assert session.newest() is None
    assert session.drained
