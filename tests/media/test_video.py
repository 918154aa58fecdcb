import numpy as np
import pytest

from tests.media.files import counting_frames, numbers, write_media
from vmmjax.media.container import MediaError
from vmmjax.media.probe import probe
from vmmjax.media.video import count_pictures, each_frame, read_frames, stored_pictures
from vmmjax.media.writer import write_clip

SMALL = {'short_side': 32, 'fps': 25}


@pytest.fixture(scope='module')
def long_gop(tmp_path_factory):
    """50 counting pictures, one key frame every 20 with B-frames between."""
    path = tmp_path_factory.mktemp('media') / 'gop.mp4'
    write_media(path, counting_frames(50), options={'g': '20', 'bf': '3', 'x264-params': 'scenecut=0', 'qp': '10'})
    return path


def test_every_picture_in_order_through_b_frames(long_gop):
    frames = read_frames(long_gop, start=0, end=2, **SMALL)
    assert frames.shape == (50, 32, 32, 3)
    assert frames.dtype == np.uint8
    assert numbers(frames) == list(range(50))


@pytest.mark.parametrize('first', [0, 1, 13, 19, 20, 21, 39, 40, 41, 47])
def test_a_window_is_the_part_of_the_whole(long_gop, first):
    frames = read_frames(long_gop, start=first / 25, end=(first + 3) / 25, **SMALL)
    assert numbers(frames) == [first, first + 1, first + 2]


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'avi', 'ts'])
def test_windows_in_other_containers(tmp_path, suffix):
    path = tmp_path / f'clip.{suffix}'
    quality = {'qmin': '1', 'qmax': '1', 'b_qfactor': '0'} if suffix == 'avi' else {'qp': '10'}
    write_media(path, counting_frames(50), options={'g': '20', 'bf': '2', **quality},
                codec='mpeg4' if suffix == 'avi' else 'libx264')
    for first in (0, 15, 38):
        frames = read_frames(path, start=first / 25, end=first / 25 + 0.2, **SMALL)
        assert numbers(frames) == [first + index for index in range(5)], first


def test_only_what_a_window_needs_is_decoded(long_gop, monkeypatch):
    from vmmjax.media import video
    decoded = []
    original = video.decode
    monkeypatch.setattr(video, 'decode', lambda packet: decoded.append(packet) or original(packet))
    read_frames(long_gop, start=45 / 25, end=46 / 25, **SMALL)
    assert len(decoded) <= 11  # From the key frame 40, and the end of the file.


def test_a_whole_file_comes_one_picture_after_another(long_gop, monkeypatch):
    from vmmjax.media import video
    decoded = []
    original = video.decode
    monkeypatch.setattr(video, 'decode', lambda packet: decoded.append(packet) or original(packet))
    for fps, end in ((25, 2), (10, 2), (60, 2.5)):
        decoded.clear()
        pictures = each_frame(long_gop, end=end, fps=fps, short_side=32)
        first = next(pictures)
        assert len(decoded) < 20  # Nothing far ahead, in spite of B-frames.
        whole = read_frames(long_gop, start=0, end=end, fps=fps, short_side=32)
        np.testing.assert_array_equal([first, *pictures], whole)


def test_pictures_by_their_number_whatever_their_times(tmp_path):
    path = tmp_path / 'clip.mkv'
    write_media(path, counting_frames(30), times_ms=[7 * index ** 2 for index in range(30)], options={'bf': '3'})
    assert numbers(np.stack(list(stored_pictures(path)))) == list(range(30))
    assert numbers(np.stack(list(stored_pictures(path, start=5, every=8)))) == [5, 13, 21, 29]
    assert next(stored_pictures(path)).shape == (64, 64, 3)
    assert count_pictures(path) == 30


def test_resampling_takes_what_is_on_the_screen_in_the_middle(long_gop):
    assert numbers(read_frames(long_gop, start=0, end=2, fps=5, short_side=32)) == list(range(2, 50, 5))
    doubled = [index // 2 for index in range(100)]
    assert numbers(read_frames(long_gop, start=0, end=2, fps=50, short_side=32)) == doubled
    # Half the rate: its middles are the moments at which pictures change.
    assert numbers(read_frames(long_gop, start=0, end=2, fps=12.5, short_side=32)) == list(range(1, 50, 2))


def test_variable_rate_and_late_start(tmp_path):
    path = tmp_path / 'variable.mkv'
    write_media(path, counting_frames(4), [5000, 5100, 5700, 5800])
    assert probe(path).duration == pytest.approx(0.84, abs=0.05)
    assert numbers(read_frames(path, start=0, end=0.9, fps=10, short_side=32)) == [0, 1, 1, 1, 1, 1, 1, 2, 3]


def test_past_the_end_the_last_picture_stays(long_gop):
    assert numbers(read_frames(long_gop, start=1.92, end=2.2, **SMALL)) == [48, *[49] * 6]


def test_empty_window(long_gop):
    assert read_frames(long_gop, start=1, end=1, **SMALL).shape == (0, 32, 32, 3)


@pytest.mark.parametrize('start', [0, 0.3, 1.21])
def test_a_window_too_short_for_a_picture_at_the_rate_is_the_one_in_its_middle(long_gop, start):
    found = read_frames(long_gop, start=start, end=start + 0.06, fps=2, short_side=32)
    assert numbers(found) == [int((start + 0.03) * 25)]


def test_aspect_is_kept_and_the_picture_upright(tmp_path):
    path = tmp_path / 'turned.mp4'
    frames = np.zeros((5, 64, 96, 3), np.uint8)
    frames[:, :, :48] = 255  # White on the left.
    write_media(path, frames, rotate=90)  # Shown turned by 90 degrees against the clock: white at the bottom.
    shown = read_frames(path, start=0, end=0.2, **SMALL)
    info = probe(path)
    assert (info.width, info.height) == (64, 96)
    assert shown.shape == (5, 48, 32, 3)
    assert shown[0, 36:].mean() > 250
    assert shown[0, :12].mean() < 5


@pytest.mark.parametrize('mirrored', [False, True])
@pytest.mark.parametrize('degrees', [0, 90, 180, 270])
def test_every_orientation(tmp_path, degrees, mirrored):
    path = tmp_path / 'turned.mp4'
    quarters = [[[255, 0, 0], [0, 255, 0], [0, 0, 255]], [[255, 255, 255], [0, 0, 0], [128, 128, 128]]]
    stored = np.array(quarters, np.uint8).repeat(32, 0).repeat(32, 1)
    write_media(path, np.stack([stored] * 3), rotate=degrees, mirror=mirrored, options={'qp': '4', 'g': '1'})
    wanted = np.rot90(stored, degrees // 90)  # Against the clock.
    wanted = wanted[:, ::-1] if mirrored else wanted
    info = probe(path)
    assert (info.height, info.width) == wanted.shape[:2]
    shown = read_frames(path, start=0, end=0.04, fps=25, short_side=64)[0]
    assert shown.shape == wanted.shape
    inner = np.s_[8::16, 8::16]  # Chroma runs over the edges.
    assert np.abs(shown[inner].astype(int) - wanted[inner]).max() <= 8


@pytest.mark.parametrize('codec', ['libx264', 'libx265'])
def test_ten_bits_are_rounded_to_eight(tmp_path, codec):
    path = tmp_path / 'ten.mp4'
    ramp = np.repeat(np.linspace(0, 255, 256).astype(np.uint8)[None, :, None], 64, 0).repeat(3, 2)
    quiet = {'x265-params': 'log-level=none:lossless=1'} if codec == 'libx265' else {'qp': '0'}
    write_media(path, ramp[None].repeat(3, 0), codec=codec, pixels='yuv420p10le', options=quiet)
    shown = read_frames(path, start=0, end=0.12, fps=25, short_side=64)
    assert np.abs(shown.astype(int) - ramp).max() <= 2
    assert np.abs(shown.astype(int) - ramp).mean() < 0.6


@pytest.mark.parametrize('matrix', ['bt709', 'smpte170m', 'bt2020nc'])
@pytest.mark.parametrize('full_range', [False, True])
def test_the_matrix_of_the_colours_is_that_of_the_file(tmp_path, matrix, full_range):
    path = tmp_path / 'colours.mp4'
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [90, 130, 170]], np.uint8)
    frames = np.repeat(colours, 32 * 32, axis=0).reshape(-1, 32, 32, 3)
    write_media(path, frames, matrix=matrix, full_range=full_range, options={'qp': '4', 'g': '1'})
    back = read_frames(path, start=0, end=5 / 25, fps=25, short_side=32)
    assert np.abs(back.astype(int) - frames).max() <= 6


@pytest.mark.parametrize('kind', ['writer', 'tv', 'pc'])
def test_colours_come_back(tmp_path, kind):
    colours = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0], [90, 130, 170]]
    frames = np.repeat(np.array(colours, np.uint8), 32 * 32, axis=0).reshape(-1, 32, 32, 3)
    path = tmp_path / 'colours.mp4'
    if kind == 'writer':
        write_clip(path, frames, fps=25, quantiser=4)
    else:
        write_media(path, frames, options={'qp': '4', 'g': '1'}, full_range=kind == 'pc')
    back = read_frames(path, start=0, end=6 / 25, fps=25, short_side=32)
    assert np.abs(back.astype(int) - frames).max() <= 4


def test_sound_alone_has_no_pictures(tmp_path):
    path = tmp_path / 'gop.mp4'
    path.write_bytes(b'')
    with pytest.raises(MediaError, match='empty'):
        read_frames(path, start=0, end=1, **SMALL)


def test_real_clips(shared_data):
    for path in sorted((shared_data / 'clips').iterdir()):
        info = probe(path)
        if info.fps is None:
            with pytest.raises(MediaError, match='no pictures'):
                read_frames(path, start=0, end=1, **SMALL)
            continue
        end = min(info.duration, 2.0)
        frames = read_frames(path, start=0, end=end, fps=10, short_side=32)
        assert len(frames) == round(end * 10)
        assert min(frames.shape[1:3]) == 32
        assert frames.shape[2] / frames.shape[1] == pytest.approx(info.width / info.height, rel=0.03)
        assert frames.std() > 5
