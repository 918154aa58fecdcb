import pytest

from tests.serving.live import lights, servers
from tests.serving.web.browser import Browser
from vmmjax.media.container import clock_zero, open_media, packets, read_streams
from vmmjax.serving.live.evidence import Recorder


def recorded(path, clip, start, end, keep=30.0, around=1.0):
    """A clip of what happens from `start` to `end` in a file that is read packet by packet, some seconds around it."""
    said = []
    with open_media(path) as container:
        zero = clock_zero(container)
        recorder = Recorder(container, zero, keep=keep, after=around, say=said.append)
        begun = ended = False
        for packet in packets(container, read_streams(container)):
            recorder.add(packet)
            now = 0.0 if packet.dts is None else float(packet.dts * packet.time_base) - zero
            if not begun and now > start + 1:  # An alarm is known when it lasts for a while.
                begun = True
                recorder.begin('a', clip, start - around)
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
def test_a_clip_of_a_transport_stream_plays_in_a_browser_and_holds_what_was_around(stream, tmp_path):
    """Played from its first picture to its last."""
    clip = tmp_path / 'clips' / 'a.mp4'
    assert recorded(stream, clip, 3.0, 5.0, around=2.0) == []
    page = tmp_path / 'page.html'
    page.write_text('<video src="clips/a.mp4" muted autoplay></video>')
    browser = Browser(tmp_path / 'profile')
    browser.open(page.as_uri())
    video = 'document.querySelector("video")'
    browser.until(f'{video}.error || {video}.ended')
    failed, seconds, width = browser.run(f'[{video}.error?.message, {video}.currentTime, {video}.videoWidth]')
    browser.close()
    assert failed is None
    assert 6 <= seconds <= 7.2
    assert width == 24
    with open_media(clip) as container:
        bright = [frame.to_ndarray(format='gray').mean() > 120 for frame in container.decode(video=0)]
    first, count = bright.index(True), sum(bright)
    assert bright[first:first + count] == 20 * [True]
    assert 20 <= first <= 26
    assert 20 <= len(bright) - first - count <= 22


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
