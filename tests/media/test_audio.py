import numpy as np
import pytest

from tests.media.files import counting_frames, write_media
from vmmjax.media.audio import read_waveform
from vmmjax.media.video import read_frames
from vmmjax.media.writer import write_clip

RATE = 16000
TIMES = np.arange(2 * RATE) / RATE


def chirp():
    return (0.5 * np.sin(2 * np.pi * (200 * TIMES + 300 * TIMES ** 2))).astype(np.float32)


def test_sound_comes_back(tmp_path):
    write_clip(tmp_path / 'a.mp4', counting_frames(50), fps=25, waveform=chirp())
    back = read_waveform(tmp_path / 'a.mp4', start=0, end=2, rate=RATE)
    assert back.dtype == np.float32
    assert back.shape == (2 * RATE,)
    middle = slice(800, -800)
    assert np.corrcoef(back[middle], chirp()[middle])[0, 1] > 0.99  # Not a sample late: AAC's priming is left out.


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'mov', 'avi', 'ts'])
@pytest.mark.parametrize('picture', [3, 30])
def test_click_and_flash_are_together(tmp_path, suffix, picture):
    frames = np.zeros((50, 64, 64, 3), np.uint8)
    frames[picture] = 255
    waveform = np.zeros(2 * RATE, np.float32)
    at = picture * RATE // 25
    waveform[at:at + 80] = np.random.default_rng(0).uniform(-0.9, 0.9, 80)
    path = tmp_path / f'clap.{suffix}'
    write_media(path, frames, waveform=waveform, options={'bf': '2'},
                codec='mpeg4' if suffix == 'avi' else 'libx264')
    flash = read_frames(path, start=0, end=2, fps=25, short_side=32).mean((1, 2, 3)).argmax()
    click = np.abs(read_waveform(path, start=0, end=2, rate=RATE)).argmax() / RATE
    assert flash == picture
    # An AVI or a transport stream does not say how much priming an encoder put before the sound: 64 ms here.
    assert click == pytest.approx(picture / 25, abs=0.01 if suffix in ('mp4', 'mkv', 'mov') else 0.075)


def test_late_sound_is_padded_and_late_pictures_cut_it(tmp_path):
    write_media(tmp_path / 'late.mkv', counting_frames(50), waveform=chirp()[:RATE], sound_at_ms=500,
                sound_codec='pcm_s16le')
    back = read_waveform(tmp_path / 'late.mkv', start=0, end=2, rate=RATE)
    assert np.abs(back[:7990]).max() == 0
    np.testing.assert_allclose(back[8000:24000], chirp()[:RATE], atol=1e-3)
    assert np.abs(back[24010:]).max() == 0
    write_media(tmp_path / 'early.mkv', counting_frames(25), [500 + 40 * index for index in range(25)],
                waveform=chirp(), sound_codec='pcm_s16le')
    back = read_waveform(tmp_path / 'early.mkv', start=0, end=1, rate=RATE)
    np.testing.assert_allclose(back, chirp()[8000:24000], atol=1e-3)


@pytest.mark.parametrize('start', [0.3, 1.1, 1.5, 5.0, 17.3])
@pytest.mark.parametrize('rate', [16000, 11025])
def test_a_window_is_the_part_of_the_whole(tmp_path, start, rate):
    noise = np.random.default_rng(1).uniform(-0.5, 0.5, 20 * RATE).astype(np.float32)
    write_clip(tmp_path / 'a.mp4', np.zeros((200, 16, 16, 3), np.uint8), fps=10, waveform=noise)
    whole = read_waveform(tmp_path / 'a.mp4', start=0, end=20, rate=rate)
    part = read_waveform(tmp_path / 'a.mp4', start=start, end=start + 1, rate=rate)
    first = round(start * rate)
    np.testing.assert_allclose(part, whole[first:first + rate], atol=1e-4)


def test_past_the_end_is_silence(tmp_path):
    write_clip(tmp_path / 'a.mp4', counting_frames(50), fps=25, waveform=chirp())
    assert np.abs(read_waveform(tmp_path / 'a.mp4', start=3, end=4, rate=RATE)).max() == 0


def test_no_sound_track_is_none(tmp_path):
    write_clip(tmp_path / 'a.mp4', counting_frames(10), fps=25)
    assert read_waveform(tmp_path / 'a.mp4', start=0, end=1, rate=RATE) is None


def test_resampling_keeps_the_pitch(tmp_path):
    write_media(tmp_path / 'a.mkv', counting_frames(50), rate=44100, sound_codec='pcm_s16le',
                waveform=(0.5 * np.sin(2 * np.pi * 1000 * np.arange(88200) / 44100)).astype(np.float32))
    back = read_waveform(tmp_path / 'a.mkv', start=0.5, end=1.5, rate=RATE)
    np.testing.assert_allclose(back, 0.5 * np.sin(2 * np.pi * 1000 * TIMES[8000:24000]), atol=2e-3)


def test_real_sound(shared_data):
    path = shared_data / 'clips/v_GGSY1Qvo990.mp4'
    whole = read_waveform(path, start=0, end=10, rate=RATE)
    part = read_waveform(path, start=6, end=7, rate=RATE)
    assert whole.std() > 1e-3
    assert np.corrcoef(part, whole[6 * RATE:7 * RATE])[0, 1] > 0.99
