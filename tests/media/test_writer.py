import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import av
import cv2
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.media.probe import MediaError, probe
from vmmjax.media.video import read_frames
from vmmjax.media.writer import write_clip, write_pictures


@pytest.fixture(scope='module')
def frames():
    return np.random.default_rng(0).integers(0, 256, (12, 32, 48, 3), np.uint8)


def test_the_same_bytes_again(tmp_path, frames):
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 8000).astype(np.float32)
    for name in ('a.mp4', 'b.mp4'):
        write_clip(tmp_path / name, frames, fps=25, waveform=waveform)
    assert (tmp_path / 'a.mp4').read_bytes() == (tmp_path / 'b.mp4').read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['a.mp4', 'b.mp4']


def test_a_picture_depends_on_no_other(tmp_path, frames):
    """Whatever the order, and whatever stands beside it, a picture decodes to the same."""
    order = np.random.default_rng(1).permutation(len(frames))
    write_clip(tmp_path / 'a.mp4', frames, fps=12)
    write_clip(tmp_path / 'b.mp4', frames[order], fps=12)
    write_clip(tmp_path / 'c.mp4', frames[3:4], fps=12)
    a, b, c = (read_frames(tmp_path / name, start=0, end=end, fps=12, short_side=32)
               for name, end in (('a.mp4', 1), ('b.mp4', 1), ('c.mp4', 1 / 12)))
    np.testing.assert_array_equal(a[order], b)
    np.testing.assert_array_equal(a[3], c[0])
    with av.open(str(tmp_path / 'a.mp4')) as container:
        assert all(packet.is_keyframe for packet in container.demux(video=0) if packet.size)


@pytest.mark.parametrize('shape', [(5, 31, 32, 3), (5, 32, 32), (0, 32, 32, 3)])
def test_shapes_that_do_not_go(tmp_path, shape):
    with pytest.raises(UserError, match=r'bad\.mp4'):
        write_clip(tmp_path / 'bad.mp4', np.zeros(shape, np.uint8), fps=25)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path, frames):
    with pytest.raises(UserError, match='cannot be written'):
        write_clip(tmp_path / 'missing' / 'a.mp4', frames, fps=25)



def test_a_full_disk_leaves_nothing(tmp_path):
    code = '''import pathlib, resource, sys, numpy as np
from vmmjax.errors import UserError
from vmmjax.media.writer import write_clip
resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))
frames = np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), np.uint8)
try:
    write_clip(pathlib.Path(sys.argv[1]) / 'a.mp4', frames, fps=25)
except UserError as error:
    print(error)
'''
    done = subprocess.run([sys.executable, '-c', code, tmp_path], capture_output=True, text=True, check=True)
    assert 'cannot be written: File too large' in done.stdout
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(('pieces', 'seconds'), [
    ([0, 8000, 0, 8000, 0], 1.0), ([0, 0], None), ([], None), (0, None), (16000, 1.0)])
def test_pieces_of_sound_without_a_sample_are_passed_over(tmp_path, frames, pieces, seconds):
    sound = np.zeros(pieces, np.float32) if isinstance(pieces, int) else (np.zeros(n, np.float32) for n in pieces)
    write_clip(tmp_path / 'a.mp4', frames, fps=25, waveform=sound)
    found = probe(tmp_path / 'a.mp4')
    assert found.sound_end == (None if seconds is None else pytest.approx(seconds, abs=0.1))


def encoded(frames, ending):
    return [cv2.imencode(ending, frame[..., ::-1])[1].tobytes() for frame in frames]


@pytest.mark.parametrize(('ending', 'most'), [('.jpg', 8), ('.png', 0)])
def test_encoded_pictures_and_sound_are_kept_as_they_are(tmp_path, ending, most):
    small = np.random.default_rng(0).integers(0, 256, (40, 4, 6, 3), np.uint8)
    frames = [cv2.resize(frame, (48, 32), interpolation=cv2.INTER_CUBIC) for frame in small]
    pictures = encoded(frames, ending)
    waveform = np.random.default_rng(1).uniform(-1, 1, 30000).astype(np.float32)
    for name in ('a.mov', 'b.mov'):
        write_pictures(tmp_path / name, pictures, fps=30000 / 1001, waveform=waveform, rate=22050)
    assert (tmp_path / 'a.mov').read_bytes() == (tmp_path / 'b.mov').read_bytes()
    with av.open(str(tmp_path / 'a.mov')) as container:
        assert [bytes(packet) for packet in container.demux(video=0) if packet.size] == pictures
    with av.open(str(tmp_path / 'a.mov')) as container:
        times = [packet.pts * packet.time_base for packet in container.demux(video=0) if packet.size]
        assert times == [Fraction(1001 * index, 30000) for index in range(40)]
    with av.open(str(tmp_path / 'a.mov')) as container:
        samples = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
        np.testing.assert_array_equal(samples, waveform)
    shown = read_frames(tmp_path / 'a.mov', start=0, end=40 * 1001 / 30000, fps=30000 / 1001, short_side=32)
    decoded = np.stack([cv2.imdecode(np.frombuffer(picture, np.uint8), cv2.IMREAD_COLOR_RGB) for picture in pictures])
    # JPEG decoders differ in how they enlarge the colours.
    assert np.abs(shown.astype(int) - decoded).max() <= most
    found = probe(tmp_path / 'a.mov')
    assert (found.width, found.height, found.audio_rate) == (48, 32, 22050)


def test_sound_stands_beside_its_pictures(tmp_path, frames):
    """A window of a long clip must not need a file's both ends."""
    pictures = encoded(np.concatenate([frames] * 20), '.jpg')
    write_pictures(tmp_path / 'a.mov', pictures, fps=10, waveform=np.zeros(24 * 8000, np.float32), rate=8000)
    with av.open(str(tmp_path / 'a.mov')) as container:
        order = [(packet.stream.type, float(packet.pts * packet.time_base)) for packet in container.demux()
                 if packet.size]
    behind = [abs(time - other) for (kind, time), (_, other) in pairwise(order) if kind == 'video']
    assert max(behind) < 1.1


def test_sound_alone(tmp_path):
    write_pictures(tmp_path / 'a.mov', [], fps=25, waveform=np.zeros(8000, np.float32), rate=8000)
    found = probe(tmp_path / 'a.mov')
    assert (found.duration, found.fps, found.audio_rate) == (1, None, 8000)


@pytest.mark.parametrize(('change', 'message'), [
    (lambda pictures: [], 'neither pictures nor sound'),
    (lambda pictures: [*pictures, b'GIF89a'], 'not all JPEG, or all PNG'),
    (lambda pictures: [pictures[0][:30], *pictures], 'first picture is damaged'),
])
def test_pictures_that_do_not_go(tmp_path, frames, change, message):
    with pytest.raises(MediaError, match=message):
        write_pictures(tmp_path / 'a.mov', change(encoded(frames, '.jpg')), fps=25)
    assert not list(tmp_path.iterdir())
