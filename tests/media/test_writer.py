import subprocess
import sys

import av
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.media.video import read_frames
from vmmjax.media.writer import write_clip


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
