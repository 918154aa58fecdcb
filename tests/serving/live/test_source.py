"""Sources against real sockets; what they give, and what they are not led to open."""

import shutil
import socket
import threading
import time

import av
import pytest

from tests.serving.live import lights, reading, servers
from vmmjax.errors import UserError
from vmmjax.media.writer import write_clip
from vmmjax.serving.live.source import Reading, Source, check, split_name

PATIENCE = 120  # Seconds.


class Running:
    """A source that runs, until the block ends."""

    def __init__(self, address):
        self.changed, self.stop, self.said = threading.Condition(), threading.Event(), []
        how = Reading(reading.COLUMNS, reading.schedule(stall=5.0), 1.0, 1.0, 1.0)
        self.source = Source(address, how, self.changed, self.stop, self.said.append)

    def __enter__(self):
        self.source.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.source.join(PATIENCE)

    def until(self, condition, work=lambda: None):
        end = time.monotonic() + PATIENCE
        while not condition():
            assert time.monotonic() < end, self.said
            work()
            time.sleep(.02)


@pytest.fixture(scope='module')
def stream(films):
    return servers.transport_stream(films / 'film.mp4')[1]


def sees_and_hears(running, work=lambda: None, frames=80):
    """Waits for most of a film, of which the newest window has both streams."""
    running.until(lambda: running.source.counts.frames > frames, work)
    found = running.source.sessions[0][0].newest()
    assert set(found.frames) == {'rgb', 'audio'}


def test_a_transport_stream_over_tcp(stream):
    server = servers.StreamServer()
    server.listen()
    with Running(server.address) as running, server.accept() as connection:
        connection.sendall(stream)
        sees_and_hears(running)


def test_a_transport_stream_over_udp(stream):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(('127.0.0.1', 0))
        port = free.getsockname()[1]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        places = iter(range(0, 1 << 40, 7 * 188))

        def send():
            for _ in range(16):
                first = next(places) % len(stream)
                sender.sendto(stream[first:first + 7 * 188], ('127.0.0.1', port))

        with Running(f'udp://127.0.0.1:{port}') as running:
            sees_and_hears(running, send)


def test_a_transport_stream_over_http(films, stream, tmp_path):
    (tmp_path / 'film.ts').write_bytes(stream)
    server = servers.FileServer(tmp_path)
    with Running(f'{server.address}/film.ts') as running:
        sees_and_hears(running)
    server.close()


def test_a_playlist(films, tmp_path):
    with av.open(str(films / 'film.mp4')) as film, av.open(str(tmp_path / 'live.m3u8'), 'w', format='hls') as playlist:
        streams = {stream.index: playlist.add_stream_from_template(stream) for stream in film.streams}
        for packet in film.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream_index]
                playlist.mux(packet)
    server = servers.FileServer(tmp_path)
    with Running(f'{server.address}/live.m3u8') as running:
        sees_and_hears(running, frames=30)  # It is played as fast as it was recorded.
    server.close()


def test_a_playlist_cannot_name_a_file_of_this_machine(stream, tmp_path):
    (tmp_path / 'secret.ts').write_bytes(stream)
    (tmp_path / 'live.m3u8').write_text(
        f'#EXTM3U\n#EXT-X-TARGETDURATION:12\n#EXTINF:12,\nfile://{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n')
    server = servers.FileServer(tmp_path)
    with Running(f'{server.address}/live.m3u8') as running:
        running.until(lambda: running.source.faults)
        assert not running.source.counts.frames
    server.close()


def test_rtsp(stream):
    server = servers.RtspServer(stream)
    with Running(server.address) as running:
        sees_and_hears(running)
        assert running.source.name == f'rtsp://{server.address.partition("@")[2]}', 'a password is not shown'
    server.close()


def test_a_folder_that_grows(films, tmp_path):
    (tmp_path / 'before.mp4').write_bytes(b'is passed over')
    with Running(str(tmp_path)) as running:
        running.until(lambda: running.source.is_alive())
        time.sleep(.5)
        shutil.copy(films / 'other.mp4', tmp_path / '.copy')
        (tmp_path / '.copy').rename(tmp_path / 'a.mp4')
        running.until(lambda: running.source.sessions)
        session, _ = running.source.sessions[0]
        running.until(lambda: session.drained, session.newest)
        assert running.source.counts.windows == lights.SECONDS // lights.WINDOW
        assert running.source.counts.windows_dropped == 0
    assert not running.said


def test_a_change_of_the_pictures_shape_is_a_gap(tmp_path):
    pictures, _ = lights.film([(.5, 1)], seconds=4)
    narrow = tmp_path / 'narrow.mp4'
    write_clip(narrow, pictures[:, :, :20], fps=lights.FPS)
    session = reading.session(columns={'rgb': reading.COLUMNS['rgb']}, stride=1)
    write_clip(tmp_path / 'wide.mp4', pictures, fps=lights.FPS)
    sizes = {}
    for offset, path in ((0, tmp_path / 'wide.mp4'), (4, narrow), (8, narrow)):
        for seconds, frame, _ in reading.decoded(path):
            session.take(offset + seconds, frame, True)
            found = session.newest()
            if found is not None:
                sizes[found.start] = found.sizes['rgb']
    assert set(sizes) == {0, 1, 2, 5, 6, 7, 8, 9}, 'those that show both shapes are left out'
    assert {size for start, size in sizes.items() if start < 4} == {(16, 24)}
    assert {size for start, size in sizes.items() if start > 4} == {(16, 20)}


def test_a_source_may_have_a_name(tmp_path):
    assert split_name('door=rtsp://u:p@host/1') == ('door', 'rtsp://u:p@host/1')
    assert split_name('rtsp://u:p@host/?a=b') == ('rtsp://host/?a=b', 'rtsp://u:p@host/?a=b')
    (tmp_path / 'a=b.mp4').touch()
    assert split_name(str(tmp_path / 'a=b.mp4'))[1] == str(tmp_path / 'a=b.mp4')
    with pytest.raises(UserError, match='no such file or folder'):
        check(['ftp://host/film.mp4'])
    with pytest.raises(UserError, match='Two sources are called door'):
        check(['door=tcp://host:1', 'door=tcp://host:2'])
