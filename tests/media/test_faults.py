"""Whole kinds of faulty or odd files: read, or refused in one sentence that is true."""

import csv
import os
import struct
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from tests.media.files import counting_frames, numbers
from tests.media.writing import Track, pitch, tone, write_tracks
from vmmjax.media.audio import read_waveform
from vmmjax.media.container import MediaError
from vmmjax.media.probe import probe
from vmmjax.media.video import read_frames

# Codecs of pictures and sound that a container takes, and a rate.
CODECS = {'mp4': ('libx264', 'aac', 44100), 'mov': ('libx264', 'pcm_s16le', 16000), 'mkv': ('libx264', 'aac', 16000),
          'webm': ('libvpx', 'libopus', 48000), 'avi': ('mpeg4', 'pcm_s16le', 16000), 'flv': ('libx264', 'aac', 22050),
          'ts': ('libx264', 'aac', 16000), 'mpg': ('mpeg2video', 'mp2', 32000), 'nut': ('libx264', 'aac', 16000)}
SMALL = {'short_side': 32}


def pictures(suffix: str, count: int = 50, side: int = 64, **options: object) -> Track:
    return Track(CODECS[suffix][0], counting_frames(count, side), **options)


def sound(suffix: str, seconds: float = 2.0) -> Track:
    _, codec, rate = CODECS[suffix]
    return Track(codec, tone(seconds, rate), rate)


def written(path: Path, *tracks: Track, **options: object) -> Path:
    return write_tracks(path, *tracks, **options)


def pitches(path: Path, seconds: float) -> np.ndarray:
    """Hertz heard in each fifth of a second, but for the first and the last."""
    waveform = read_waveform(path, start=0, end=seconds, rate=16000)
    return np.array([pitch(part, 16000) for part in waveform[3200:-3200].reshape(-1, 3200)])


def test_the_shared_cases(shared_cases: Path) -> None:
    with open(shared_cases / 'media' / 'expected.csv', newline='') as file:
        rows = {row['file']: row for row in csv.DictReader(file)}
    refused = {}
    for name, row in rows.items():
        path = shared_cases / 'media' / name
        try:
            found = probe(path)
            read_waveform(path, start=0, end=min(found.duration, 60), rate=16000)
        except MediaError as error:
            refused[name] = error.reason
            continue
        if row['seconds']:
            assert found.duration == pytest.approx(float(row['seconds']), abs=0.105), name
        if row['frames']:
            assert found.fps is not None
            assert found.picture_end is not None
            assert abs(found.picture_end * found.fps - float(row['frames'].split()[0])) < 2.1, name
        assert (found.audio_rate is not None) == bool(row['seconds of sound']) or name == 'thumbnail_first.mp4', name
    assert refused.keys() == {'animated.webp', 'one_nan.wav'}, refused
    assert 'WebP' in refused['animated.webp']
    assert 'no numbers' in refused['one_nan.wav']


# Tracks.


@pytest.mark.parametrize('suffix', ['mp4', 'mkv', 'webm', 'avi', 'flv', 'ts'])
def test_a_track_without_a_packet_is_absent(tmp_path: Path, suffix: str) -> None:
    silent = written(tmp_path / f'silent.{suffix}', pictures(suffix), Track(*CODECS[suffix][1:2], np.zeros(0), 48000))
    found = probe(silent)
    assert (found.audio_rate, found.fps is not None) == (None, True)
    assert found.duration == pytest.approx(2, abs=0.05)
    blind = written(tmp_path / f'blind.{suffix}', Track(CODECS[suffix][0]), sound(suffix))
    found = probe(blind)
    assert (found.audio_rate, found.fps) == (CODECS[suffix][2], None)
    assert found.duration == pytest.approx(2, abs=0.12)
    assert np.abs(pitches(blind, 2) - 440).max() < 10


@pytest.mark.parametrize('suffix', ['mkv', 'mp4', 'ts'])
@pytest.mark.parametrize('kind', ['audio', 'video'])
def test_a_track_that_decodes_to_nothing_is_absent_and_said_so(tmp_path: Path, suffix: str, kind: str) -> None:
    source = 'ts' if suffix == 'ts' else 'mp4'
    whole = written(tmp_path / f'whole.{source}', pictures(source), sound(source))
    path = tmp_path / f'half.{suffix}'
    with av.open(str(whole)) as source, av.open(str(path), 'w') as container:
        streams = {stream.index: container.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if not packet.size:
                continue
            copy = packet if packet.stream.type != kind else av.Packet(b'\0\0\0\1\x09' + bytes(20))
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.stream = streams[packet.stream.index]
            container.mux(copy)
    found = probe(path)
    assert (found.fps is None, found.audio_rate is None) == (kind == 'video', kind == 'audio')
    assert f'its {kind} track cannot be decoded' in found.damage


@pytest.mark.parametrize('suffix', ['mkv', 'webm', 'nut', 'mp4'])
@pytest.mark.parametrize('kind', ['sound', 'pictures'])
def test_another_track_that_lasts_longer_does_not_count(tmp_path: Path, suffix: str, kind: str) -> None:
    other = sound(suffix, 6) if kind == 'sound' else pictures(suffix, 60, 32)
    path = written(tmp_path / f'a.{suffix}', pictures(suffix, 25), sound(suffix, 1), other)
    assert probe(path).duration == pytest.approx(1, abs=0.05)
    if suffix in ('mkv', 'webm', 'mp4'):
        path.write_bytes(path.read_bytes()[:path.stat().st_size // 3])
        with pytest.raises(MediaError, match=r'cut off|no media file'):
            probe(path)


# A QuickTime file always has a default track; the others that are not Matroska know of none.
@pytest.mark.parametrize(('suffix', 'flagged'), [('mkv', True), ('mov', True), *[
    (suffix, False) for suffix in ('mkv', 'ts', 'avi', 'nut')]])
def test_the_default_picture_track_is_read_else_the_largest(tmp_path: Path, suffix: str, flagged: bool) -> None:
    small, large = (pictures(suffix, 25, side, default=flagged and side == 96) for side in (16, 96))
    path = written(tmp_path / f'a.{suffix}', small, large)
    assert (probe(path).width, probe(path).height) == (96, 96)
    assert numbers(read_frames(path, start=0, end=0.4, fps=25, **SMALL)) == list(range(10))


# Lengths.


@pytest.mark.parametrize('size', [0, 0x7FFF_F000, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF])
@pytest.mark.parametrize('rate', [8000, 44100])
def test_a_wave_file_from_a_pipe_lasts_as_long_as_its_bytes(tmp_path: Path, size: int, rate: int) -> None:
    path = written(tmp_path / 'a.wav', Track('pcm_s16le', tone(1.3, rate), rate))
    content = bytearray(path.read_bytes())
    for name, place in ((b'RIFF', 4), (b'data', content.find(b'data') + 4)):
        assert name in content
        content[place:place + 4] = struct.pack('<I', size)
    path.write_bytes(content)
    found = probe(path)
    assert (found.duration, found.damage) == (pytest.approx(1.3, abs=1e-3), '')
    assert np.abs(pitches(path, 1.2) - 440).max() < 10


@pytest.mark.parametrize(('suffix', 'codec'), [('au', 'pcm_s16be'), ('caf', 'pcm_s16le'), ('aiff', 'pcm_s16be'),
                                               ('wav', 'pcm_f32le'), ('w64', 'pcm_s16le'), ('flac', 'flac')])
def test_other_sounds_from_a_pipe_and_cut_off(tmp_path: Path, suffix: str, codec: str) -> None:
    path = written(tmp_path / f'a.{suffix}', Track(codec, tone(2, 16000), 16000))
    whole = path.read_bytes()
    (tmp_path / f'cut.{suffix}').write_bytes(whole[:len(whole) // 2 + 1])
    with pytest.raises(MediaError, match='cut off'):
        probe(tmp_path / f'cut.{suffix}')
    unknown = {'au': (8, 4), 'caf': (whole.find(b'data') + 4, 8), 'wav': (whole.find(b'data') + 4, 4)}
    if suffix in unknown:
        place, width = unknown[suffix]
        path.write_bytes(whole[:place] + b'\xff' * width + whole[place + width:])
        assert probe(path).duration == pytest.approx(2, abs=0.1)
        assert np.abs(pitches(path, 1.8) - 440).max() < 10


@pytest.mark.parametrize('damage', ['a packet', 'every twentieth packet', 'a segment', 'zeros between'])
def test_lost_packets_of_a_broadcast_are_not_its_end(tmp_path: Path, damage: str) -> None:
    path = written(tmp_path / 'a.ts', pictures('ts', 60, options={'g': '10'}), sound('ts', 2.4))
    content = path.read_bytes()
    parts = [content[i:i + 188] for i in range(0, len(content), 188)]
    if damage == 'a packet':
        del parts[len(parts) // 2]
    elif damage == 'every twentieth packet':
        parts = [part for i, part in enumerate(parts) if i < 5 or i % 20]
    elif damage == 'a segment':
        del parts[len(parts) // 3:len(parts) // 2]
    else:
        parts.insert(len(parts) // 2, bytes(5000))
    path.write_bytes(b''.join(parts))
    found = probe(path)
    assert found.duration == pytest.approx(2.4, abs=0.1)
    assert 'packets are damaged' in found.damage or damage in ('a packet', 'zeros between')
    shown = numbers(read_frames(path, start=0, end=2.4, fps=25, **SMALL))
    assert shown[-2:] == [58, 59]
    assert np.abs(np.array(shown) - range(60)).max() <= 11


# Times.


# FFmpeg gives pictures of an FLV no times where they stand for 1000 s.
@pytest.mark.parametrize(('suffix', 'every'), [('flv', 150), *[
    (suffix, every) for suffix in ('mkv', 'mov', 'webm', 'ts', 'nut') for every in (150, 1000)]])
def test_a_picture_stands_until_the_next(tmp_path: Path, suffix: str, every: int) -> None:
    path = written(tmp_path / f'slides.{suffix}', pictures(
        suffix, 4, times_ms=[1000 * every * i for i in range(4)], options={'b': '2M', 'qmax': '4'}))
    assert probe(path).duration == pytest.approx(3 * every, abs=1.1)
    shown = numbers(read_frames(path, start=0, end=3 * every, fps=2 / every, **SMALL))
    assert shown == [0, 0, 1, 1, 2, 2]
    assert numbers(read_frames(path, start=2.4 * every, end=2.6 * every, fps=5 / every, **SMALL)) == [2]


def test_a_recording_of_a_screen_that_rests(tmp_path: Path) -> None:
    times = [0, 40, 80, 2_400_000, 2_400_040, 2_400_080]
    path = written(tmp_path / 'screen.mkv', pictures('mkv', 6, times_ms=times))
    assert probe(path).duration == pytest.approx(2400.12, abs=0.1)


@pytest.mark.parametrize('suffix', ['mkv', 'webm'])
def test_a_time_stamp_that_the_file_contradicts_is_damaged(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f'a.{suffix}', pictures(suffix, 4, times_ms=[0, 40, 80, 600_000]))
    assert probe(path).duration == pytest.approx(600, abs=0.1)
    content = bytearray(path.read_bytes())
    place = content.find(b'\x44\x89\x88') + 3  # The duration, a double of milliseconds.
    assert struct.unpack_from('>d', content, place)[0] == pytest.approx(600_040, abs=40)
    content[place:place + 8] = struct.pack('>d', 160.0)
    path.write_bytes(content)
    with pytest.raises(MediaError, match='claims to last 600 s, but nothing is shown or heard for 600 s of it'):
        probe(path)


@pytest.mark.parametrize(('suffix', 'codec'), [('h264', 'libx264'), ('h265', 'libx265'), ('m2v', 'mpeg2video'),
                                               ('mjpeg', 'mjpeg')])
@pytest.mark.parametrize('start', [0.0, 0.6])
def test_elementary_streams_have_their_nominal_rate(tmp_path: Path, suffix: str, codec: str, start: float) -> None:
    quiet = {'x265-params': 'log-level=none'} if codec == 'libx265' else {}
    path = written(tmp_path / f'a.{suffix}', Track(codec, counting_frames(20), options=quiet))
    found = probe(path)
    assert (found.duration, found.fps) == (pytest.approx(0.8), 25)
    shown = read_frames(path, start=start, end=0.8, fps=25, **SMALL)
    assert numbers(shown) == list(range(round(start * 25), 20))


def _joined(folder: Path, suffix: str, count: int, *tracks: Track, format: str | None = None) -> Path:
    part = written(folder / f'part.{suffix}', *tracks, format=format)
    path = folder / f'joined.{suffix}'
    path.write_bytes(part.read_bytes() * count)
    return path


@pytest.mark.parametrize('suffix', ['ts', 'mpg'])
@pytest.mark.parametrize('count', [2, 3])
def test_recordings_that_were_joined_go_on(tmp_path: Path, suffix: str, count: int) -> None:
    path = _joined(tmp_path, suffix, count, pictures(suffix, 30, options={'g': '10'}), sound(suffix, 1.2))
    found = probe(path)
    assert found.duration == pytest.approx(1.2 * count, abs=0.1)
    assert 'begins anew' in found.damage
    whole = read_frames(path, start=0, end=1.2 * count, fps=25, **SMALL)
    parts = np.split(shown := np.array(numbers(whole)), np.flatnonzero(np.diff(shown) < -20) + 1)
    assert [len(set(part.tolist())) > 26 for part in parts] == [True] * count, shown
    assert np.median(np.abs(pitches(path, 1.2 * count - 0.2) - 440)) < 10
    for first in (10, 31, 40, 55):  # A window is the part of the whole.
        part = read_frames(path, start=first / 25, end=(first + 4) / 25, fps=25, **SMALL)
        np.testing.assert_array_equal(part, whole[first:first + 4])
    start = 1.3
    waveform = read_waveform(path, start=0, end=2.2, rate=16000)
    np.testing.assert_allclose(read_waveform(path, start=start, end=2, rate=16000),
                               waveform[round(start * 16000):32000], atol=1e-4)


def test_a_chain_of_ogg_files_goes_on(tmp_path: Path) -> None:
    path = _joined(tmp_path, 'ogg', 3, Track('libopus', tone(1, 48000), 48000))
    assert probe(path).duration == pytest.approx(3, abs=0.1)
    assert np.median(np.abs(pitches(path, 3) - 440)) < 10


@pytest.mark.parametrize('suffix', ['mkv', 'nut'])
def test_other_files_that_were_joined_are_refused(tmp_path: Path, suffix: str) -> None:
    path = _joined(tmp_path, suffix, 2, pictures(suffix, 50), sound(suffix))
    with pytest.raises(MediaError, match=r'its time goes back from .* joined of several files'):
        probe(path)


def test_tracks_of_a_joined_recording_stay_together(tmp_path: Path) -> None:
    """A flash and a click at .6 s of each part, whose tracks do not end at the same time."""
    frames = np.zeros((30, 64, 64, 3), np.uint8)
    frames[15] = 255
    waveform = np.zeros(14000, np.float32)
    waveform[9600:9680] = np.random.default_rng(0).uniform(-0.9, 0.9, 80)
    part = written(tmp_path / 'part.ts', Track('libx264', frames, options={'bf': '0'}),
                   Track('mp2', waveform, 16000))
    path = tmp_path / 'joined.ts'
    path.write_bytes(part.read_bytes() * 3)
    length = probe(path).duration
    brightness = read_frames(path, start=0, end=length, fps=50, **SMALL).mean((1, 2, 3))
    loudness = np.abs(read_waveform(path, start=0, end=length, rate=16000))
    flashes = np.flatnonzero((brightness[1:] > 128) & (brightness[:-1] < 128)) / 50
    clicks = np.flatnonzero(loudness > 0.1)
    clicks = clicks[np.diff(clicks, prepend=-16000) > 8000] / 16000
    assert len(flashes) == len(clicks) == 3
    assert np.ptp(flashes - clicks) < 0.05


# Sound.


@pytest.mark.parametrize(('suffix', 'codec', 'rates', 'format'), [
    ('mp2', 'mp2', (48000, 24000), None), ('ac3', 'ac3', (48000, 32000), None), ('ts', 'aac', (44100, 22050), None),
    ('ts', 'mp2', (22050, 44100), None), ('mp3', 'libmp3lame', (48000, 16000), None),
    ('aac', 'aac', (44100, 22050), 'adts'), ('aac', 'aac', (22050, 44100), 'adts')])
def test_a_rate_that_changes_keeps_the_pitch(tmp_path: Path, suffix: str, codec: str, rates: tuple[int, int],
                                             format: str | None) -> None:
    path = tmp_path / f'a.{suffix}'
    parts = [written(tmp_path / f'{rate}.{suffix}', Track(codec, tone(2, rate), rate), format=format).read_bytes()
             for rate in rates]
    path.write_bytes(b''.join(parts))
    if suffix == 'aac':  # Its reader counts on at the first rate.
        with pytest.raises(MediaError, match=f'changes from {rates[0]} to {rates[1]} samples a second'):
            read_waveform(path, start=0, end=4, rate=16000)
        return
    assert probe(path).duration == pytest.approx(4, abs=0.2)
    heard = np.abs(pitches(path, 3.8) - 440)
    assert np.sort(heard)[:-3].max() < 10  # But for where they meet.
    assert np.abs(read_waveform(path, start=3.4, end=3.6, rate=16000)).max() > 0.4


@pytest.mark.parametrize(('suffix', 'codec', 'format'), [('aac', 'aac', 'adts'), ('mp3', 'libmp3lame', None),
                                                         ('ts', 'aac', None)])
def test_channels_that_become_more_keep_pitch_and_level(tmp_path: Path, suffix: str, codec: str,
                                                        format: str | None) -> None:
    path = tmp_path / f'a.{suffix}'
    both = np.stack([tone(2, 44100), tone(2, 44100)])
    path.write_bytes(b''.join(
        written(tmp_path / f'{len(np.atleast_2d(samples))}.{suffix}', Track(codec, samples, 44100),
                format=format).read_bytes() for samples in (both[0], both)))
    assert np.sort(np.abs(pitches(path, 3.8) - 440))[:-2].max() < 10
    waveform = np.abs(read_waveform(path, start=0, end=3.8, rate=16000))
    assert waveform[8000:24000].max() == pytest.approx(waveform[40000:56000].max(), rel=0.1)


@pytest.mark.parametrize(('suffix', 'codec', 'number'), [
    ('wav', '<f4', np.nan), ('wav', '<f4', np.inf), ('wav', '<f4', 1e30), ('wav', '<f8', -np.inf),
    ('au', '>f4', np.nan), ('mkv', '<f4', np.nan), ('mov', '<f4', 1e9)])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, suffix: str, codec: str, number: float) -> None:
    name = f'pcm_f{8 * int(codec[2])}{"le" if codec[0] == "<" else "be"}'
    path = written(tmp_path / f'a.{suffix}', Track(name, tone(2, 16000), 16000))
    content = bytearray(path.read_bytes())
    marked = tone(2, 16000).astype(codec)[20000:20004].tobytes()
    place = content.find(marked)
    assert place > 0
    content[place:place + int(codec[2])] = np.array(number, codec).tobytes()
    path.write_bytes(content)
    with pytest.raises(MediaError, match='samples that are no numbers'):
        read_waveform(path, start=0, end=2, rate=16000)
    if suffix != 'mkv':  # Of one packet.
        assert np.isfinite(read_waveform(path, start=0, end=1, rate=16000)).all()


def test_floats_in_the_scale_of_sixteen_bits_are_read(tmp_path: Path) -> None:
    path = written(tmp_path / 'a.wav', Track('pcm_f32le', 65000 * tone(1, 16000), 16000))
    assert read_waveform(path, start=0, end=1, rate=16000).max() > 30000


@pytest.mark.parametrize('rate', [1, 100, 3_000_000_000])
def test_an_absurd_rate_is_refused(tmp_path: Path, rate: int) -> None:
    path = written(tmp_path / 'a.wav', Track('pcm_s16le', tone(1.25, 16000), 16000))
    content = bytearray(path.read_bytes())
    content[24:28] = struct.pack('<I', rate)
    path.write_bytes(content)
    with pytest.raises(MediaError, match=r'samples a second|no media file|cannot be decoded'):
        probe(path)


def test_an_hour_does_not_lie_in_memory_at_its_own_rate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vmmjax.media import audio
    path = written(tmp_path / 'a.wav', Track('pcm_s16le', tone(4, 48000), 48000))
    whole = read_waveform(path, start=0, end=4, rate=16000)
    monkeypatch.setattr(audio, '_BLOCK', 5000)
    np.testing.assert_array_equal(read_waveform(path, start=0, end=4, rate=16000), whole)
    np.testing.assert_allclose(read_waveform(path, start=1, end=2, rate=16000), whole[16000:32000], atol=1e-5)


# Files that are none, or name others.


PLAYLISTS: dict[str, Callable[[str], str]] = {
    'hls': lambda name: f'#EXTM3U\n#EXT-X-VERSION:3\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{name}\n',
    'concat': lambda name: f'ffconcat version 1.0\nfile {name}\n',
    'dash': lambda name: f'<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="dynamic"><Period>'
                         f'<BaseURL>{name}</BaseURL></Period></MPD>\n',
    'sdp': lambda name: 'v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n'
                        'a=rtpmap:96 H264/90000\n',
    'imf': lambda name: '<?xml version="1.0"?>\n<CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/'
                        '2016"></CompositionPlaylist>\n',
    'sbg': lambda name: 'SBaGen\n-SE\nbase: 200+10/100\nNOW base\n'}


@pytest.mark.parametrize('kind', PLAYLISTS)
@pytest.mark.parametrize('suffix', ['mp4', 'm3u8', 'mpd', 'txt', 'sdp', 'mkv'])
def test_playlists_and_scripts_are_refused(tmp_path: Path, kind: str, suffix: str) -> None:
    written(tmp_path / 'a.ts', pictures('ts', 10))
    path = tmp_path / f'x.{suffix}'
    path.write_text(PLAYLISTS[kind]('a.ts'))
    with pytest.raises(MediaError, match=r'playlist|no media file'):
        probe(path)


@pytest.mark.parametrize('suffix', ['gif', 'png', 'avif'])
def test_animated_pictures_are_read_whole(tmp_path: Path, suffix: str) -> None:
    from PIL import Image
    first, *others = (Image.fromarray(frame) for frame in counting_frames(10))
    path = tmp_path / f'a.{suffix}'
    first.save(path, save_all=True, append_images=others, duration=40)
    found = probe(path)
    assert (found.duration, found.fps) == (pytest.approx(0.4), 25)
    assert numbers(read_frames(path, start=0, end=0.4, fps=25, **SMALL)) == list(range(10))


def test_an_animated_webp_is_read_or_named(tmp_path: Path) -> None:
    from PIL import Image
    first, *others = (Image.fromarray(np.repeat(frame, 2, 0)) for frame in counting_frames(10)[::3])
    path = tmp_path / 'a.webp'
    first.save(path, save_all=True, append_images=others, duration=40, lossless=True)
    with av.open(str(path)) as container:
        films = container.format.name == 'webp_anim'
    if not films:
        with pytest.raises(MediaError, match='it is a WebP picture, which this FFmpeg does not open'):
            probe(path)
        return
    assert probe(path).duration == pytest.approx(0.16)
    assert len(read_frames(path, start=0, end=0.16, fps=25, **SMALL)) == 4


@pytest.mark.parametrize('suffix', ['mkv', 'mov', 'avi'])
def test_the_sound_beside_one_picture_is_not_cut(tmp_path: Path, suffix: str) -> None:
    path = written(tmp_path / f'a.{suffix}', pictures(suffix, 1), sound(suffix))
    found = probe(path)
    assert found.duration == pytest.approx(2, abs=0.1)
    assert numbers(read_frames(path, start=0, end=2, fps=5, **SMALL)) == [0] * 10
    assert np.abs(pitches(path, 2) - 440).max() < 10


@pytest.mark.parametrize(('suffix', 'text'), [('mkv', 'srt'), ('webm', 'vtt')])
def test_a_subtitle_that_lasts_longer_does_not_count(tmp_path: Path, suffix: str, text: str) -> None:
    words = tmp_path / f'words.{text}'
    words.write_text(('WEBVTT\n\n' if text == 'vtt' else '') +
                     '1\n00:00:00.500 --> 00:00:01.000\nearly\n\n2\n00:00:08.000 --> 00:00:09.000\nlate\n')
    film = written(tmp_path / f'film.{suffix}', pictures(suffix, 25), sound(suffix, 1))
    path = tmp_path / f'a.{suffix}'
    with av.open(str(film)) as first, av.open(str(words)) as second, av.open(str(path), 'w') as container:
        tracks = {stream: container.add_stream_from_template(stream) for stream in (*first.streams, *second.streams)}
        for packet in (*first.demux(), *second.demux()):
            if packet.size:
                packet.stream = tracks[packet.stream]
                container.mux(packet)
    found = probe(path)
    assert (found.duration, found.damage) == (pytest.approx(1, abs=0.05), '')


@pytest.mark.parametrize('suffix', ['mpg', 'ogg'])
@pytest.mark.parametrize('kind', ['lost', 'zeros'])
def test_bytes_lost_from_the_middle_are_not_the_end(tmp_path: Path, suffix: str, kind: str) -> None:
    if suffix == 'ogg':
        seconds, tracks = 4.0, [Track('libopus', tone(4, 48000), 48000)]
    else:
        seconds, tracks = 2.4, [pictures(suffix, 60, options={'g': '10'}), sound(suffix, 2.4)]
    path = written(tmp_path / f'a.{suffix}', *tracks)
    content = path.read_bytes()
    half = len(content) // 2
    path.write_bytes(content[:half] + (bytes(600) if kind == 'zeros' else b'') + content[half + 600:])
    assert probe(path).duration == pytest.approx(seconds, abs=0.1)
    right = np.abs(pitches(path, seconds - 0.4) - 440) < 10
    assert right[-2:].all()
    assert (~right).sum() <= 5, 'a page of an Ogg file lasts a second'
    if suffix == 'mpg':
        assert numbers(read_frames(path, start=0, end=2.4, fps=25, **SMALL))[-2:] == [58, 59]


def test_a_picture_is_no_clip(tmp_path: Path) -> None:
    from PIL import Image
    for suffix in ('png', 'jpg', 'bmp', 'tiff', 'webp'):
        Image.new('RGB', (32, 32)).save(tmp_path / f'a.{suffix}')
        with pytest.raises(MediaError, match='picture'):
            probe(tmp_path / f'a.{suffix}')


def test_what_is_no_file(tmp_path: Path) -> None:

    os.mkfifo(tmp_path / 'fifo.mp4')
    (tmp_path / 'folder.mp4').mkdir()
    (tmp_path / 'link.mp4').symlink_to(tmp_path / 'nothing.mp4')
    for name, reason in (('fifo', 'a pipe'), ('folder', 'a folder'), ('link', 'a link to a file that is not there')):
        with pytest.raises(MediaError, match=reason):
            probe(tmp_path / f'{name}.mp4')


def test_a_cover_is_no_damaged_film(tmp_path: Path) -> None:
    path = tmp_path / 'song.mp3'
    with av.open(str(path), 'w') as container:
        streams = (container.add_stream('libmp3lame', rate=44100, layout='mono'),
                   container.add_stream('mjpeg', rate=25))
        streams[1].height = streams[1].width = 64
        streams[1].pix_fmt, streams[1].disposition = 'yuvj420p', Disposition.attached_pic
        frame = av.VideoFrame.from_ndarray(counting_frames(1)[0], format='rgb24')
        cover = [*streams[1].encode(frame), *streams[1].encode()]
        for packet in cover:
            container.mux(packet)
        samples = av.AudioFrame.from_ndarray(tone(2, 44100)[None], format='fltp', layout='mono')
        samples.sample_rate, samples.pts = 44100, 0
        container.mux(streams[0].encode(samples))
        container.mux(streams[0].encode())
    found = probe(path)
    assert (found.fps, found.damage) == (None, '')
    assert found.duration == pytest.approx(2, abs=0.1)


def test_a_name_that_no_file_may_have_is_none_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(MediaError, match='there is no such file'):
        probe(tmp_path / ('a' * 300 + '.mp4'))
