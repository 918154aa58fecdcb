"""What comes frame by frame is what is read of the whole file."""

import av
import numpy as np
import pytest

from tests.serving.live.lights import film
from vmmjax.errors import UserError
from vmmjax.media.probe import probe
from vmmjax.media.writer import write_clip
from vmmjax.prepare.audio_columns import Audio, Mfcc, Waveform
from vmmjax.prepare.columns import Flow, Rgb, stored
from vmmjax.serving.live.columns import check, live_column, reads_pictures
from vmmjax.serving.live.ring import Ring
from vmmjax.store.catalog import ClipInfo

SECONDS = 2.3


@pytest.fixture(scope='module')
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp('columns') / 'clip.mp4'
    pictures, sound = film([(.5, 1)], seconds=SECONDS, side=32)
    write_clip(path, pictures, fps=10, waveform=sound, rate=8000)
    return path


def live(path, column, gap=60.0, skip=lambda time: False):
    """All frames that a live column makes of a file, and the ring they came into."""
    made, ring, found = live_column(column, gap), Ring(), {}
    blocks = []
    with av.open(str(path)) as container:
        for frame in container.decode(video=0) if reads_pictures(column) else container.decode(audio=0):
            if not skip(frame.time):
                blocks.append(made.take(frame.time, frame))
    blocks.append(made.finish(probe(path).duration))
    for block in blocks:
        ring.add(*block)
        found |= dict(enumerate(block.frames, block.number))
    return found, ring, made.size


def whole(path, column):
    found = probe(path)
    info = ClipInfo(str(path), '', '', 0.0, found.duration, found.duration, found.fps, found.width, found.height,
                    found.audio_rate)
    return [frame for piece, _ in stored(column, path, info) for frame in piece]


@pytest.mark.parametrize('column', [Rgb(fps=10, short_side=16), Rgb(fps=7, short_side=24), Rgb(fps=25, short_side=32),
                                    Flow(fps=5, short_side=24)], ids=str)
def test_pictures_and_motion_are_those_of_the_file(clip, column):
    found, ring, size = live(clip, column)
    expected = whole(clip, column)
    assert [found[place] for place in range(len(expected))] == expected
    assert len(found) == ring.end == len(expected)
    assert size == (column.short_side, round(column.short_side * 40 / 32))


@pytest.mark.parametrize('column', [
    Waveform(audio_rate=8000), Waveform(audio_rate=16000), Waveform(audio_rate=6000), Audio(),
    Audio(audio_rate=8000, fmax=3800.0), Audio(front_end='vggish'), Audio(front_end='panns_16k')], ids=str)
def test_sound_is_that_of_the_file(clip, column):
    found, ring, _ = live(clip, column)
    expected = np.stack(whole(clip, column))
    assert (ring.first, ring.end) == (0, len(expected))
    np.testing.assert_allclose(np.stack([found[place] for place in range(len(expected))]), expected, atol=1e-5)


@pytest.mark.parametrize('column', [Rgb(fps=10, short_side=16), Waveform(), Audio()], ids=lambda column: column.name)
def test_after_a_gap_a_column_begins_anew(clip, column):
    found, _, _ = live(clip, column)
    parted, ring, _ = live(clip, column, gap=.5, skip=lambda time: .6 < time < 1.4)
    assert 1.2 < ring.first / column.rate < 1.7
    assert ring.end == len(found)
    compared = int(ring.first + .15 * column.rate)
    for place in range(compared, ring.end):
        np.testing.assert_allclose(np.frombuffer(parted[place], np.uint8) if column.name == 'rgb' else parted[place],
                                   np.frombuffer(found[place], np.uint8) if column.name == 'rgb' else found[place],
                                   atol=1e-3)


def test_a_column_that_needs_the_whole_clip_is_refused():
    for column in (Waveform(denoise=.5), Audio(trim_db=40.0), Mfcc(), Flow(flow_on='source')):
        with pytest.raises(UserError, match=f'column {column.name}'):
            check([column])
