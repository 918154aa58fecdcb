"""A window in seconds is, to the last bit, the part of what is decoded from the start."""

import functools
import tempfile
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.media.files import TICK, write_media
from vmmjax.media import container as media_container
from vmmjax.media import video
from vmmjax.media.container import open_media, picture_stream
from vmmjax.media.probe import probe
from vmmjax.media.video import read_frames

COUNT = 150
SMALL = {'short_side': 32}
# Codec, suffix, options of the encoder; all with few key frames and pictures between that refer to each other.
FILES = {
    'h264': ('libx264', 'mp4', {'g': '37', 'bf': '3', 'b_strategy': '2'}),
    'h264 open': ('libx264', 'mp4', {'g': '30', 'bf': '3', 'x264-params': 'open-gop=1:scenecut=0:b-adapt=0'}),
    'h264 open mkv': ('libx264', 'mkv', {'g': '30', 'bf': '3', 'x264-params': 'open-gop=1:b-pyramid=normal'}),
    'h264 open ts': ('libx264', 'ts', {'g': '30', 'bf': '3', 'x264-params': 'open-gop=1:scenecut=0'}),
    'h264 refresh': ('libx264', 'mp4', {'g': '40', 'bf': '0', 'x264-params': 'intra-refresh=1'}),
    'h265 open': ('libx265', 'mp4', {'x265-params': 'keyint=30:open-gop=1:bframes=4:log-level=none:pools=1'}),
    'h265 mkv': ('libx265', 'mkv', {'x265-params': 'keyint=30:open-gop=0:bframes=4:log-level=none:pools=1'}),
    'vp9': ('libvpx-vp9', 'webm', {'g': '40', 'cpu-used': '8', 'deadline': 'realtime', 'lag-in-frames': '8'}),
    'mpeg4': ('mpeg4', 'mp4', {'g': '30', 'bf': '2'}),
    'mpeg4 avi': ('mpeg4', 'avi', {'g': '30', 'bf': '2'}),
    'mpeg2': ('mpeg2video', 'ts', {'g': '15', 'bf': '2'}),
    'mpeg2 mpg': ('mpeg2video', 'mpg', {'g': '15', 'bf': '2'}),
    'flv': ('libx264', 'flv', {'g': '30', 'bf': '2'}),
}


def _texture(count: int) -> np.ndarray:
    """A moving texture that changes: every picture is unlike the others."""
    rng = np.random.default_rng(0)
    large = cv2.resize(rng.integers(0, 256, (30, 30, 3), np.uint8), (240, 240), interpolation=cv2.INTER_CUBIC)
    return np.stack([np.roll(large[t % 90:t % 90 + 64, 3 * t % 170:3 * t % 170 + 64], t, axis=2) for t in range(count)])


@pytest.fixture(scope='module')
def folder():
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@functools.cache
def _file(folder: Path, name: str) -> tuple[Path, np.ndarray]:
    """A file, and all its pictures."""
    codec, suffix, options = FILES[name]
    path = folder / f'{name.replace(" ", "_")}.{suffix}'
    times = None
    if suffix in ('mkv', 'webm'):  # A varying rate, too.
        steps = np.random.default_rng(1).integers(20, 61, COUNT - 1)
        times = [0, *np.cumsum(steps).tolist()]
    clock = Fraction(1, 25) if codec == 'mpeg2video' else TICK
    write_media(path, _texture(COUNT), times, codec=codec, options=options, clock=clock)
    return path, read_frames(path, start=0, end=6, fps=50, **SMALL)


@pytest.mark.parametrize('name', FILES)
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(first=st.integers(0, 299), length=st.integers(1, 40))
def test_a_window_is_the_part_of_the_whole(name: str, folder: Path, first: int, length: int) -> None:
    path, whole = _file(folder, name)
    part = read_frames(path, start=first / 50, end=(first + length) / 50, fps=50, **SMALL)
    np.testing.assert_array_equal(part[:len(whole) - first], whole[first:first + length])


@pytest.mark.parametrize('name', ['h264 open', 'h264 open mkv', 'h264 open ts', 'h265 open', 'mpeg2', 'mpeg2 mpg'])
def test_every_picture_by_itself(name: str, folder: Path) -> None:
    path, whole = _file(folder, name)
    for first in range(51, 275, 2):
        part = read_frames(path, start=first / 50, end=(first + 1) / 50, fps=50, **SMALL)
        np.testing.assert_array_equal(part[0], whole[first], str(first))


# AVI has no times to seek by, refreshed pictures no key frames, and so small an MPG no second key frame with a time.
@pytest.mark.parametrize('name', sorted(FILES.keys() - {'mpeg4 avi', 'h264 refresh', 'mpeg2 mpg'}))
def test_a_late_window_is_not_decoded_from_the_start(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, _ = _file(folder, name)
    decoded = []
    monkeypatch.setattr(video, 'decode', lambda packet: decoded.append(1) or media_container.decode(packet))
    read_frames(path, start=5.2, end=5.3, fps=25, **SMALL)
    assert len(decoded) < 80


def test_real_clips(shared_data: Path) -> None:
    for path in sorted((shared_data / 'clips').iterdir()):
        info = probe(path)
        if info.fps is None:
            continue
        end = min(info.duration, 6.0)
        whole = read_frames(path, start=0, end=end, fps=10, **SMALL)
        for first in range(6, len(whole) - 2, 9):
            part = read_frames(path, start=first / 10, end=(first + 2) / 10, fps=10, **SMALL)
            np.testing.assert_array_equal(part, whole[first:first + 2], f'{path.name} {first}')


def test_the_open_files_are_open(folder: Path) -> None:
    for name in ('h264 open', 'h265 open'):
        path, _ = _file(folder, name)
        with open_media(path) as container:
            stream = picture_stream(container)
            assert stream is not None
            packets = [packet for packet in container.demux(stream) if packet.pts is not None]
        keys = [index for index, packet in enumerate(packets) if packet.is_keyframe]
        assert len(keys) > 3
        assert any(packets[key + 1].pts < packets[key].pts for key in keys[1:]), name
