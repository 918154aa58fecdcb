import pickle

import av
import numpy as np
import pytest

from tests.media.files import counting_frames, write_media
from vmmjax.media.audio import read_waveform
from vmmjax.media.container import MediaError
from vmmjax.media.probe import probe
from vmmjax.media.video import read_frames
from vmmjax.media.writer import write_clip

TONE = (0.5 * np.sin(np.arange(32000) / 5)).astype(np.float32)


@pytest.fixture(scope='module')
def noise():
    return np.random.default_rng(0).integers(0, 256, (50, 64, 64, 3), np.uint8)


def test_pictures_and_sound(tmp_path):
    write_clip(tmp_path / 'a.mp4', counting_frames(50), fps=25, waveform=TONE)
    info = probe(tmp_path / 'a.mp4')
    assert info.duration == pytest.approx(2)
    assert (info.fps, info.width, info.height, info.audio_rate) == (25, 64, 64, 16000)


def test_no_sound_track(tmp_path):
    write_clip(tmp_path / 'a.mp4', counting_frames(10), fps=10)
    info = probe(tmp_path / 'a.mp4')
    assert info.audio_rate is None
    assert info.duration == pytest.approx(1)


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'mov', 'avi', 'ts', 'flv'])
@pytest.mark.parametrize('sound', [0.4, 5.0])
def test_sound_shorter_or_longer_than_the_pictures(tmp_path, suffix, sound):
    path = tmp_path / f'a.{suffix}'
    rate = 22050 if suffix == 'flv' else 16000
    write_media(path, counting_frames(50), codec='mpeg4' if suffix == 'avi' else 'libx264', rate=rate,
                waveform=np.full(round(sound * rate), 0.5, np.float32))
    found = probe(path)
    assert found.picture_end == pytest.approx(2, abs=0.07 if suffix == 'avi' else 0.05)
    assert found.sound_end == pytest.approx(sound, abs=0.15)
    assert found.duration == max(found.picture_end, found.sound_end)
    waveform = read_waveform(path, start=0, end=2, rate=16000)
    assert waveform.shape == (32000,)
    loud = np.abs(waveform) > 0.25
    assert loud[4000:6000].all()
    assert loud[8000:].mean() == (1.0 if sound > 2 else 0.0)


@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_the_first_of_several_sound_tracks_is_read(tmp_path, suffix):
    path = tmp_path / f'a.{suffix}'
    with av.open(str(path), 'w') as container:
        video = container.add_stream('libx264', rate=25)
        video.width = video.height = 64
        tracks = [container.add_stream('aac', rate=16000, layout='mono') for _ in range(2)]
        for picture in counting_frames(25):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        container.mux(video.encode())
        for track, level in zip(tracks, (0.5, 0.0), strict=True):
            sound = av.AudioFrame.from_ndarray(np.full((1, 16000), level, np.float32), format='fltp', layout='mono')
            sound.sample_rate = 16000
            container.mux(track.encode(sound))
            container.mux(track.encode())
    assert probe(path).duration == pytest.approx(1, abs=0.1)
    assert read_waveform(path, start=0, end=1, rate=16000)[4000:12000].mean() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'avi'])
def test_titles_that_are_not_utf8_stop_nothing(tmp_path, suffix):
    path, latin = tmp_path / f'a.{suffix}', 'Caf\xe9 \xfcber 1'.encode('latin-1')
    with av.open(str(path), 'w') as container:
        container.metadata['title'] = 'a' * len(latin)
        video = container.add_stream('mpeg4', rate=25)
        video.width = video.height = 64
        for picture in counting_frames(10):
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format='rgb24')))
        container.mux(video.encode())
    content = path.read_bytes()
    assert content.count(b'a' * len(latin)) == 1
    path.write_bytes(content.replace(b'a' * len(latin), latin))
    assert probe(path).duration == pytest.approx(0.4, abs=0.05)
    assert read_frames(path, start=0, end=0.4, fps=25, short_side=64).shape == (10, 64, 64, 3)


@pytest.mark.parametrize('change', [{'width': 16000, 'height': 16}, {'width': 16, 'height': 16000}])
def test_pictures_of_absurd_shape(tmp_path, monkeypatch, change):
    from vmmjax.media import tracks as module
    write_clip(tmp_path / 'a.mp4', counting_frames(10), fps=10)
    monkeypatch.setattr(module, 'shown_size', lambda stream: (change['width'], change['height']))
    with pytest.raises(MediaError, match='16000'):
        probe(tmp_path / 'a.mp4')


def test_pictures_of_absurd_size(tmp_path, monkeypatch):
    from vmmjax.media import container
    write_clip(tmp_path / 'a.mp4', counting_frames(10), fps=10)
    monkeypatch.setattr(container, '_MAX_PIXELS', 63 * 63)
    with pytest.raises(MediaError, match='video track cannot be decoded'):
        probe(tmp_path / 'a.mp4')


def test_sound_of_an_absurd_rate(tmp_path, shared_data):
    content = bytearray((shared_data / 'clips/sine_mono_s32_8000.wav').read_bytes())
    content[24:28] = (2_000_000_000).to_bytes(4, 'little')
    (tmp_path / 'a.wav').write_bytes(content)
    with pytest.raises(MediaError, match='2000000000 samples'):
        probe(tmp_path / 'a.wav')


def test_missing_empty_and_other_files(tmp_path):
    for name, content, reason in [('empty.mp4', b'', 'empty'), ('text.mp4', b'no media\n' * 500, 'no media file'),
                                  ('text.txt', b'no media\n' * 500, 'text'),
                                  ('zeros.mp4', bytes(5000), 'no media file')]:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=reason):
            probe(tmp_path / name)
    with pytest.raises(MediaError, match='no such file'):
        probe(tmp_path / 'missing.mp4')


@pytest.mark.parametrize('kind', ['mp4', 'faststart.mp4', 'mkv', 'avi', 'mov'])
@pytest.mark.parametrize('share', [0.02, 0.3, 0.5, 0.8])
def test_a_file_cut_off_is_found_out(tmp_path, noise, kind, share):
    path = tmp_path / f'whole.{kind}'
    write_media(path, noise, waveform=TONE, faststart='faststart' in kind)
    probe(path)
    cut = tmp_path / f'cut.{kind}'
    cut.write_bytes(path.read_bytes()[:int(path.stat().st_size * share)])
    with pytest.raises(MediaError, match=r'cut off|cannot be decoded'):
        probe(cut)


def test_cut_wave_file(tmp_path, shared_data):
    whole = (shared_data / 'clips/sine_mono_s32_8000.wav').read_bytes()
    (tmp_path / 'cut.wav').write_bytes(whole[:len(whole) // 2])
    with pytest.raises(MediaError, match='cut off'):
        probe(tmp_path / 'cut.wav')


def test_the_error_survives_a_process(tmp_path):
    error = pickle.loads(pickle.dumps(MediaError(tmp_path, 'it is empty')))
    assert str(error) == f'{tmp_path}: it is empty.'


@pytest.mark.parametrize('seed', range(30))
def test_damage_is_read_or_rejected_with_a_sentence(tmp_path, noise, seed):
    """Bytes overwritten anywhere: either arrays of the right shape come out, or a MediaError."""
    path = tmp_path / 'clip.mp4'
    write_media(path, noise[:20], waveform=TONE[:12800], options={'preset': 'ultrafast'})
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    header = content.find(b'moov')
    for _ in range(rng.integers(1, 20)):
        low = header if rng.integers(2) else 0  # The header is small: aim at it half of the time.
        content[rng.integers(low, len(content))] = rng.integers(256)
    path.write_bytes(content)
    try:
        info = probe(path)
        if info.fps is not None:
            assert read_frames(path, start=0, end=0.8, fps=25, short_side=32).shape[0] == 20
        waveform = read_waveform(path, start=0, end=0.8, rate=16000)
        assert waveform is None or waveform.shape == (12800,)
    except MediaError:
        pass


def test_every_real_clip_is_read_or_rejected(shared_data):
    folders = ['clips', 'grid/clips', 'fights/clips', 'esc10/clips']
    files = [path for folder in folders for path in sorted((shared_data / folder).iterdir())[:25]]
    assert len(files) > 60
    for path in files:
        assert probe(path).duration > 0.5, path


def test_declared_lengths_of_real_clips(shared_data):
    info = probe(shared_data / 'clips/mmaction2_test.avi')
    assert info.duration == pytest.approx(6.6, abs=0.1)
    assert info.audio_rate == 44100
    assert probe(shared_data / 'clips/nasa_13013.mp4.audio.mp3').fps is None
