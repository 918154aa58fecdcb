import re

import pytest

from tests.evaluation.pages import opened
from tests.serving.live import lights, servers
from vmmjax.media.container import clock_zero, open_media, packets, read_streams
from vmmjax.serving.live.evidence import Recorder


def recorded(path, clip, start, end, keep=30.0):
    """A clip of what happens from `start` to `end` in a file that is read packet by packet, a second around it."""
    said = []
    with open_media(path) as container:
        zero = clock_zero(container)
        recorder = Recorder(container, zero, keep=keep, after=1.0, say=said.append)
        begun = ended = False
        for packet in packets(container, read_streams(container)):
            recorder.add(packet)
            now = 0.0 if packet.dts is None else float(packet.dts * packet.time_base) - zero
            if not begun and now > start + 1:  # An alarm is known when it lasts for a while.
                begun = True
                recorder.begin('a', clip, start - 1)
            if not ended and now > end + .5:
                ended = True
                recorder.end('a', end)
        recorder.finish()
    return said


@pytest.fixture(scope='module')
def stream(films, tmp_path_factory):
    """A film as a camera sends it: MPEG-TS."""
    path = tmp_path_factory.mktemp('evidence') / 'film.ts'
    path.write_bytes(servers.transport_stream(films / 'film.mp4')[1])
    return path


@pytest.mark.slow
def test_a_clip_of_a_transport_stream_plays_in_a_browser(stream, tmp_path):
    assert recorded(stream, tmp_path / 'clips' / 'a.mp4', 3.0, 5.0) == []
    page = tmp_path / 'page.html'
    page.write_text('<video id="v" src="clips/a.mp4" muted></video><p id="p"></p><script>'
                    'v.onloadeddata = () => { p.textContent = `plays ${v.duration} ${v.videoWidth}` };'
                    'v.onerror = () => { p.textContent = `fails ${v.error.message}` }</script>')
    document, _ = opened(page, 600, tmp_path / 'profile')
    seconds, width = map(float, re.search(r'plays ([\d.]+) (\d+)', document).groups())
    assert 4 <= seconds <= 5.2
    assert width == 24


def test_nothing_is_left_of_a_clip_that_cannot_be_written(films, tmp_path):
    (tmp_path / 'clips').write_text('is a file')
    said = recorded(films / 'film.mp4', tmp_path / 'clips' / 'a.mp4', 3.0, 5.0)
    assert len(said) == 1
    assert 'cannot be written' in said[0]


def test_an_alarm_that_is_found_after_the_connection_has_its_clip(stream, tmp_path):
    said = []
    with open_media(stream) as container:
        recorder = Recorder(container, clock_zero(container), keep=30.0, after=1.0, say=said.append)
        for packet in packets(container, read_streams(container)):
            recorder.add(packet)
        recorder.finish()
    recorder.begin('a', tmp_path / 'a.mp4', 6.5)
    recorder.end('a', 9.0)
    recorder.finish()
    assert said == []
    with open_media(tmp_path / 'a.mp4') as container:
        assert len(list(container.decode(video=0))) in range(55, 61)


def test_packets_are_kept_for_as_long_as_asked(films, tmp_path):
    assert recorded(films / 'film.mp4', tmp_path / 'a.mp4', 3.0, 9.0, keep=1.5) == []
    with open_media(tmp_path / 'a.mp4') as container:
        first = next(container.decode(video=0))
        # Of the second before it, half has gone; pictures begin at a key frame.
        assert first.time == 0
        assert container.duration / 1e6 == pytest.approx(10 - 2.5, abs=lights.FPS / 20 + .2)
    assert [path.name for path in tmp_path.iterdir()] == ['a.mp4']
