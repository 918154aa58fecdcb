import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.media import probe, summary
from vmmjax.media.writer import write_clip


@pytest.fixture(scope='module')
def source(tmp_path_factory):
    """Two seconds of pictures, and three of sound."""
    path = tmp_path_factory.mktemp('source') / 'a.mp4'
    random = np.random.default_rng(0)
    frames = random.integers(0, 256, (20, 16, 16, 3), dtype=np.uint8)
    write_clip(path, frames, fps=10, waveform=random.uniform(-.5, .5, 48000).astype(np.float32))
    return path


def test_a_part_without_a_whole_picture_is_left_out(source, tmp_path):
    summary.write(tmp_path / 'b.mp4', source, [(0, 0.5), (1.99, 3), (3, 4)])
    found = probe.probe(tmp_path / 'b.mp4')
    assert found.picture_end == pytest.approx(0.5)
    assert found.sound_end == pytest.approx(0.5, abs=0.1)
    with pytest.raises(UserError, match=r'a\.mp4 has no pictures in the parts of its summary: they end at 2\.00 s'):
        summary.write(tmp_path / 'c.mp4', source, [(1.99, 3)])
    assert [path.name for path in tmp_path.iterdir()] == ['b.mp4']


def test_a_summary_is_an_mp4_file_of_its_own(source, tmp_path):
    content = source.read_bytes()
    with pytest.raises(UserError, match=r'a\.mp4 is the video itself; name another --output'):
        summary.write(source, source, [(0, 1)])
    with pytest.raises(UserError, match=r's\.txt; a video is written as \.mp4'):
        summary.write(tmp_path / 's.txt', source, [(0, 1)])
    assert source.read_bytes() == content
    assert not list(tmp_path.iterdir())
