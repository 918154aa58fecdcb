"""Faulty files and odd trees of folders, prepared: nothing is silently lost, nothing costs more than itself."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.media.files import counting_frames, write_media
from tests.media.writing import Track, pitch, tone, write_tracks
from vmmjax.errors import UserError
from vmmjax.media.probe import Probe
from vmmjax.prepare import catalog_builder, shards, sources
from vmmjax.prepare.audio_columns import Mfcc, Waveform
from vmmjax.prepare.build import Summary, prepare
from vmmjax.prepare.columns import Audio, Flow, Rgb
from vmmjax.prepare.sources.clip import of_file
from vmmjax.prepare.sources.media_index import Files
from vmmjax.store import catalog
from vmmjax.store.store import Store


def made(source: Path, store: Path, *columns: object) -> tuple[Summary, dict[str, str], dict[str, str]]:
    """Prepares a source; what was rejected, and what was damaged, by path."""
    summary = prepare(sources.read(str(source)), store, columns or (Rgb(fps=5, short_side=24),), origin='faults',
                      processes=2, progress=False)
    listed: list[dict[str, str]] = []
    for name in ('rejected', 'damaged'):
        file = store / f'{name}.csv'
        listed.append({})
        if file.exists():
            with open(file, newline='', encoding='utf-8') as lines:
                listed[-1] = dict(list(csv.reader(lines))[1:])
    return summary, *listed


@pytest.fixture(scope='module')
def clip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp('clip') / 'a.mp4'
    write_media(path, counting_frames(10))
    return path.read_bytes()


def placed(folder: Path, content: bytes, *names: str | bytes) -> Path:
    for name in names:
        path = Path(os.fsdecode(os.fsencode(folder) + b'/' + os.fsencode(name)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


def test_the_shared_cases_are_prepared(shared_cases: Path, tmp_path: Path) -> None:
    source = tmp_path / 'source'
    (source / 'class').mkdir(parents=True)
    with open(shared_cases / 'media' / 'expected.csv', newline='') as file:
        names = [row['file'] for row in csv.DictReader(file)]
    for name in names:
        (source / 'class' / name).symlink_to(shared_cases / 'media' / name)
    columns = Rgb(fps=25, short_side=16), Audio(), Waveform(), Mfcc(denoise=0.5)
    summary, rejected, damaged = made(source, tmp_path / 'store', *columns)
    assert rejected.keys() == {'class/animated.webp', 'class/one_nan.wav'}
    assert summary.rejected == 4  # The sound that is none is in three columns.
    assert damaged['class/one_packet_lost.ts'] == '1 of its packets are damaged'
    assert damaged['class/empty_audio.mkv'] == 'its audio track is empty'
    store = Store(tmp_path / 'store')
    rows = {name.removeprefix('class/'): row for row, name in enumerate(store.values('path').tolist())}
    lengths = {name: {column: store.columns[column].lengths[row] for column in store.columns}
               for name, row in rows.items()}
    assert lengths['cut_after_audio.mp4'] == {'rgb': 50, 'audio': 0, 'waveform': 0, 'mfcc': 0}
    assert lengths['cover_as_h264.mp4'] == {'rgb': 1, 'audio': 200, 'waveform': 32000, 'mfcc': 200}
    assert lengths['slides_150s.mp4']['rgb'] == 15000
    assert lengths['one_nan.wav'] == dict.fromkeys(store.columns, 0)
    for name in ('ffmpeg_pipe.wav', 'zero_sizes.wav', 'rate_change.mp3'):
        row = rows[name]
        first, last = store.columns['waveform'].offsets[row:row + 2]
        records = store.columns['waveform'].records(np.arange(first, last))
        waveform = np.concatenate([np.asarray(_frames(record)) for record in records])
        assert len(waveform) == lengths[name]['waveform']
        for part in (waveform[3200:6400], waveform[-9600:-6400]):
            assert abs(pitch(part, 16000) - 440) < 10, name


CASES = ('cut_after_audio.mp4', 'empty_audio.mkv', 'subs_longer.mkv', 'one_nan.wav', 'slides_150s.mp4',
         'ffmpeg_pipe.wav', 'zero_sizes.wav', 'one_frame.mp4', 'raw.h264', 'rate_change.mp3', 'cover_as_h264.mp4',
         'one_packet_lost.ts', 'joined.mpg', 'thumbnail_first.mp4', 'animated.webp')


@pytest.mark.parametrize('name', CASES)
def test_a_shared_case_has_the_length_that_is_right(shared_cases: Path, name: str) -> None:
    """Pictures at the file's own rate, or at 4 a second; log-mels at 100."""
    with open(shared_cases / 'media' / 'expected.csv', newline='') as file:
        right = {row['file']: row for row in csv.DictReader(file)}
    assert right.keys() == set(CASES)
    path, row = shared_cases / 'media' / name, right[name]
    found = catalog_builder.probed(path)
    if name == 'animated.webp':
        assert found == 'it is a WebP picture, which this FFmpeg does not open as a film: make a GIF or a video of it'
        return
    assert isinstance(found, Probe)
    values = catalog_builder.listed(of_file(path), found)
    clip = catalog.clip_info(dict(zip(catalog.FIXED, map(str, (0, *values)), strict=True)))
    if name == 'one_nan.wav':
        for column in (Audio(), Waveform(), Mfcc(), Audio(denoise=0.5)):
            with pytest.raises(UserError, match='samples that are no numbers'):
                shards.read(column, path, clip)
        return
    frames, size = shards.read(Rgb(fps=4 if name == 'one_frame.mp4' else clip.fps or 25, short_side=16), path, clip)
    sound, _ = shards.read(Audio(), path, clip)
    if name == 'thumbnail_first.mp4':
        assert (clip.width, clip.height, size) == (128, 64, (16, 32))
        return
    # A tenth of a second, or a frame.
    assert clip.duration == pytest.approx(float(row['seconds']), abs=0.105)
    assert bool(frames) == bool(row['frames'])
    assert not frames or abs(len(frames) - int(row['frames'].split()[0])) <= max(1, 0.1 * (clip.fps or 0))
    assert len(sound) / 100 == pytest.approx(float(row['seconds of sound'] or 0), abs=0.105)


def test_a_clip_with_pictures_has_one_at_any_rate(tmp_path: Path) -> None:
    (tmp_path / 'a').mkdir()
    write_media(tmp_path / 'a' / 'one.gif', counting_frames(1), codec='gif', pixels='gray')
    write_tracks(tmp_path / 'a' / 'one.avi', Track('mpeg4', counting_frames(1)),
                 Track('pcm_s16le', tone(1, 8000), 8000))
    write_tracks(tmp_path / 'a' / 'short.mkv', Track('libx264', counting_frames(3)))
    (tmp_path / 'manifest.csv').write_text(
        'path,split,start,end\na/one.gif,train,,\na/one.avi,train,,\na/short.mkv,train,,\na/short.mkv,train,0.05,0.06\n')
    summary, rejected, damaged = made(tmp_path / 'manifest.csv', tmp_path / 'store', Rgb(fps=4, short_side=24),
                                      Flow(fps=4, short_side=24))
    lengths = {name: column.lengths.tolist() for name, column in Store(tmp_path / 'store').columns.items()}
    assert lengths == {'rgb': [1] * 4, 'flow': [0] * 4}
    assert set(rejected.values()) == {'flow: it has one picture at 4 a second, and so no motion'}
    assert (summary.rejected, damaged) == (4, {})


def _frames(record: bytes) -> list[float]:
    from tensorflow_datasets.proto import tf_example_pb2
    return list(tf_example_pb2.Example.FromString(record).features.feature['frames'].float_list.value)


@pytest.mark.parametrize('columns', [(Audio(),), (Waveform(denoise=0.8), Mfcc()), (Audio(denoise=1.0, trim_db=30.0),)])
def test_sound_that_is_no_number_costs_its_clip(tmp_path: Path, columns: tuple[Waveform, ...]) -> None:
    source = tmp_path / 'source'
    (source / 'a').mkdir(parents=True)
    waveform = tone(1, 16000)
    write_tracks(source / 'a' / 'good.wav', Track('pcm_f32le', waveform, 16000))
    for name, number, codec in (('nan.wav', np.nan, 'pcm_f32le'), ('infinite.mov', -np.inf, 'pcm_f32le'),
                                ('absurd.au', 1e20, 'pcm_f32be'), ('double.w64', np.nan, 'pcm_f64le')):
        waveform[8000] = number
        write_tracks(source / 'a' / name, Track(codec, waveform, 16000))
    one = np.stack([tone(1, 16000), waveform])  # A channel alone.
    write_tracks(source / 'a' / 'stereo.caf', Track('pcm_f32be', one, 16000))
    _, rejected, _ = made(source, tmp_path / 'store', *columns)
    assert rejected.keys() == {f'a/{name}' for name in (
        'nan.wav', 'infinite.mov', 'absurd.au', 'double.w64', 'stereo.caf')}
    assert all('samples that are no numbers' in reason for reason in rejected.values())
    store = Store(tmp_path / 'store')
    good = store.values('path').tolist().index('a/good.wav')
    assert [store.columns[column.name].lengths[good] > 0 for column in columns] == [True] * len(columns)


def test_whatever_reading_a_file_raises_costs_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path) -> Probe:
        raise ZeroDivisionError('a rate of 0')

    def lacks(path: Path) -> Probe:
        raise MemoryError

    path = tmp_path / 'a.mp4'
    path.touch()
    monkeypatch.setattr(catalog_builder, 'isolated', lambda path, read, *arguments: read(*arguments))
    monkeypatch.setattr(catalog_builder, 'probe', fails)
    found = catalog_builder.probed(path)
    assert isinstance(found, str)
    assert 'reading what it holds raises ZeroDivisionError: a rate of 0 (test_faults.py, line' in found
    monkeypatch.setattr(catalog_builder, 'probe', lacks)
    with pytest.raises(MemoryError):
        catalog_builder.probed(path)


def test_names_of_all_kinds(clip: bytes, tmp_path: Path) -> None:
    names = [b'caf\xe9.mp4', b'a\rb.mp4', b'a\nb.mp4', '日本 ü"\',;.mp4'.encode(), b' space .mp4', b'x' * 240 + b'.mp4']
    source = placed(tmp_path / 'source' / 'train' / 'c\xe9\r', clip, *names).parents[1]
    for columns in ((Rgb(fps=5, short_side=24),), (Rgb(fps=5, short_side=24), Audio())):  # A second time, too.
        summary, rejected, _ = made(source, tmp_path / 'store', *columns)
        assert (summary.clips, rejected) == (len(names), {})
    store = Store(tmp_path / 'store')
    assert (store.columns['rgb'].lengths == 2).all()
    shown = {name.rpartition('/')[2] for name in store.values('path').tolist()}
    assert {r'caf\xe9.mp4', r'a\rb.mp4', r'a\nb.mp4', '日本 ü"\',;.mp4'} < shown
    assert set(store.values('label')) == {'cé\\r'}


def test_a_label_in_a_manifest_may_hold_a_carriage_return(clip: bytes, tmp_path: Path) -> None:
    source = placed(tmp_path, clip, 'a.mp4', 'b\rc.mp4')
    with open(source / 'manifest.csv', 'w', newline='') as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows(
            [['path', 'split', 'label'], ['a.mp4', 'train', 'one\rtwo'], ['b\rc.mp4', 'train', 'one\r\ntwo']])
    made(source / 'manifest.csv', tmp_path / 'store')
    assert Store(tmp_path / 'store').values('label').tolist() == ['one\rtwo', 'one\r\ntwo']


def test_what_is_no_file_is_a_line(clip: bytes, tmp_path: Path) -> None:
    source = placed(tmp_path / 'source', clip, 'a/good.mp4', 'b/good.mp4', 'b/deep/1.mp4', 'b/deep/er/2.mp4',
                    'stray.mp4', 'README.txt')
    (source / 'a' / 'folder.mp4').mkdir()
    (source / 'a' / 'link.mp4').symlink_to('nothing')
    (source / 'a' / 'loop.mp4').symlink_to('loop.mp4')
    (source / 'a' / 'device.mp4').symlink_to('/dev/zero')
    (source / 'a' / 'linked.mp4').symlink_to('../b/good.mp4')
    (source / 'a' / 'empty.mp4').touch()
    os.mkfifo(source / 'a' / 'fifo.mp4')
    for name in ('up', 'again'):
        (source / 'a' / name).symlink_to(source)
        (source / name).symlink_to(source.parent)
    summary, rejected, _ = made(source, tmp_path / 'store')
    assert summary.clips == 3
    assert {name: reason.split(':')[0] for name, reason in rejected.items()} == {
        'stray.mp4': 'it lies in no folder of a class',
        'a/folder.mp4': 'it is a folder, not a file', 'a/empty.mp4': 'the file is empty',
        'a/link.mp4': 'it is a link to a file that is not there',
        'a/loop.mp4': 'it is a link to a file that is not there',
        'a/device.mp4': 'it is a pipe, a socket or a device, not a file',
        'a/fifo.mp4': 'it is a pipe, a socket or a device, not a file',
        'a/up': 'it is a link to a folder that is listed already',
        'a/again': 'it is a link to a folder that is listed already',
        'up': 'it is a link to a folder above it', 'again': 'it is a link to a folder above it',
        'b/deep/1.mp4': 'it lies in a folder inside that of its class',
        'b/deep/er/2.mp4': 'it lies in a folder inside that of its class'}


def test_what_a_manifest_names_and_is_no_file_is_a_line(clip: bytes, tmp_path: Path) -> None:
    source = placed(tmp_path, clip, 'good.mp4')
    (source / 'link.mp4').symlink_to('nothing')
    os.mkfifo(source / 'fifo.mp4')
    names = ['good.mp4', 'link.mp4', 'fifo.mp4']
    (source / 'manifest.csv').write_text('path,split\n' + ''.join(f'{name},train\n' for name in names))
    summary, rejected, _ = made(source / 'manifest.csv', tmp_path / 'store')
    assert (summary.clips, rejected.keys()) == (1, set(names[1:]))


def test_splits_in_capitals(clip: bytes, tmp_path: Path) -> None:
    source = placed(tmp_path / 'source', clip, 'Train/a/1.mp4', 'VAL/a/2.mp4', 'val/a/3.mp4')
    made(source, tmp_path / 'store')
    assert Store(tmp_path / 'store').splits == {'train': range(1), 'validation': range(1, 3)}
    vehicles = placed(tmp_path / 'vehicles', clip, 'Train/1.mp4', 'Car/2.mp4')
    assert {clip.labels['label'] for clip in sources.read(str(vehicles))} == {'Train', 'Car'}
    mixed = placed(tmp_path / 'mixed', clip, 'train/a/1.mp4', 'Car/2.mp4')
    with pytest.raises(UserError, match='holds both splits'):
        sources.read(str(mixed))


def test_annotated_files_below_links_in_circles(clip: bytes, tmp_path: Path) -> None:
    media = placed(tmp_path / 'media', clip, 'x/v_a_g01_c01.mp4', 'y/z/v_a_g02_c01.mp4')
    for name in ('one', 'two'):
        (media / 'x' / name).symlink_to(media)
        (media / 'y' / name).symlink_to(tmp_path)
    found = Files(media)
    assert found.find('v_a_g01_c01') == media / 'x' / 'v_a_g01_c01.mp4'
    assert found.find('v_a_g02_c01') == media / 'y' / 'z' / 'v_a_g02_c01.mp4'


_MEMORY = r'''
import re, resource, sys
from pathlib import Path
from tests.prepare.test_faults import made
from vmmjax.prepare.columns import Audio, Flow, Rgb
if __name__ == '__main__':
    made(Path(sys.argv[1]), Path(sys.argv[2]), Rgb(fps=5, short_side=24), Audio())
    # Its ru_maxrss would count the process that started it.
    own = int(re.search(r'VmHWM:\s+(\d+) kB', Path('/proc/self/status').read_text())[1])
    print(max(own, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss) >> 10)
'''


def test_small_files_with_large_claims_take_no_memory(clip: bytes, tmp_path: Path) -> None:
    source = placed(tmp_path / 'source', clip, 'a/good.mp4')
    write_tracks(source / 'a' / 'slow.wav', Track('pcm_s16le', tone(1.25, 16000), 16000))
    content = bytearray((source / 'a' / 'slow.wav').read_bytes())
    content[24:28] = (1).to_bytes(4, 'little')
    (source / 'a' / 'slow.wav').write_bytes(content)
    with subprocess.Popen([sys.executable, '-c', _MEMORY, str(source), str(tmp_path / 'store')],
                          cwd=Path(__file__).parents[2], stdout=subprocess.PIPE, text=True) as process:
        out, _ = process.communicate(timeout=200)
    assert process.returncode == 0
    assert int(out) < 1000
    with open(tmp_path / 'store' / 'rejected.csv', newline='') as file:
        assert [row[0] for row in csv.reader(file)][1:] == ['a/slow.wav']
