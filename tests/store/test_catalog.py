import csv

import numpy as np
import pytest

from tests.media.files import counting_frames
from tests.media.writing import Track, tone, write_tracks
from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.media.writer import write_clip
from vmmjax.prepare import catalog_builder, sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Audio, Flow, Rgb
from vmmjax.store import catalog
from vmmjax.store.store import Store


@pytest.fixture(scope='module')
def folder(tmp_path_factory):
    """Files good and bad, with a manifest in a mixed order."""
    root = tmp_path_factory.mktemp('source')
    frames = np.random.default_rng(0).integers(0, 256, (30, 32, 48, 3), np.uint8)
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 19200).astype(np.float32)
    write_clip(root / 'sound.mp4', frames, fps=25, waveform=sound)
    write_clip(root / 'mute.mp4', frames[:20], fps=10)
    whole = (root / 'sound.mp4').read_bytes()
    (root / 'cut.mp4').write_bytes(whole[:len(whole) // 2])
    (root / 'empty.mp4').write_bytes(b'')
    (root / 'text.mp4').write_text('not a film\n' * 100)
    (root / 'manifest.csv').write_text(
        'path,split,end,start,label\ncut.mp4,train,,,a\nsound.mp4,test,,,b\nsound.mp4,extra,9,0.5,"c, d"\n'
        'mute.mp4,train,,,a\nempty.mp4,test,,,b\nsound.mp4,train,1.0,0.25,007\ntext.mp4,train,,,a\n'
        'mute.mp4,validation,,5,a\nmute.mp4,validation,,,e\n')
    return root


@pytest.fixture(scope='module')
def built(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp('store') / 'new'
    catalog_builder.build(sources.read(str(folder / 'manifest.csv')), out, workers=1, progress=False)
    return out


def test_catalog(built):
    assert (built / 'catalog.csv').read_text() == (
        'row,id,split,path,start,end,duration,fps,width,height,audio_rate,picture_end,sound_end,label\n'
        '0,mute.mp4,train,mute.mp4,0.0,2.0,2.0,10.0,48,32,,2.0,,a\n'
        '1,sound.mp4,train,sound.mp4,0.25,1.0,0.75,25.0,48,32,16000,1.2,1.2,007\n'
        '2,mute.mp4,validation,mute.mp4,0.0,2.0,2.0,10.0,48,32,,2.0,,e\n'
        '3,sound.mp4,test,sound.mp4,0.0,1.2,1.2,25.0,48,32,16000,1.2,1.2,b\n'
        '4,sound.mp4,extra,sound.mp4,0.5,1.2,0.7,25.0,48,32,16000,1.2,1.2,"c, d"\n')


def test_rejected(built):
    lines = (built / 'rejected.csv').read_text().splitlines()
    assert lines[0] == 'path,reason'
    reasons = dict(line.split(',', 1) for line in lines[1:])
    assert list(reasons) == ['cut.mp4', 'text.mp4', 'mute.mp4', 'empty.mp4']
    assert 'cut off' in reasons['cut.mp4']
    assert 'no media file' in reasons['text.mp4']
    assert reasons['mute.mp4'] == '"it starts at 5.0 s, but the file ends at 2.00 s"'
    assert reasons['empty.mp4'] == 'the file is empty'


def test_read(built):
    read = catalog.read(built)
    assert len(read) == 5
    assert read.splits == {'train': range(2), 'validation': range(2, 3), 'test': range(3, 4), 'extra': range(4, 5)}
    assert read.columns['label'] == ['a', '007', 'e', 'b', 'c, d']
    assert read[1] == catalog.ClipInfo('sound.mp4', 'train', 'sound.mp4', 0.25, 1.0, 0.75, 25.0, 48, 32, 16000,
                                       1.2, 1.2)
    assert read[0].audio_rate is read[0].sound_end is None


def test_a_catalog_without_the_ends_of_tracks_is_read(built, tmp_path):
    with open(built / 'catalog.csv', newline='') as file:
        rows = [row[:11] + row[13:] for row in csv.reader(file)]
    atomic.write_csv(tmp_path / 'catalog.csv', rows)
    read = catalog.read(tmp_path)
    assert read[1] == catalog.ClipInfo('sound.mp4', 'train', 'sound.mp4', 0.25, 1.0, 0.75, 25.0, 48, 32, 16000)


@pytest.mark.parametrize(('pictures', 'sound'), [(1, 2.0), (50, 6.0), (50, 0.5)])
@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_a_clip_ends_with_its_last_track(tmp_path, suffix, pictures, sound):
    source = tmp_path / 'source'
    (source / 'a').mkdir(parents=True)
    write_tracks(source / 'a' / f'clip.{suffix}', Track('libx264', counting_frames(pictures)),
                 Track('pcm_s16le' if suffix == 'mkv' else 'aac', tone(sound, 16000), 16000))
    columns = Rgb(fps=25, short_side=16), Flow(fps=25, short_side=16), Audio()
    prepare(sources.read(str(source)), tmp_path / 'store', columns, origin='ends', processes=1, progress=False)
    row = catalog.read(tmp_path / 'store')[0]
    assert row.picture_end == pytest.approx(pictures / 25, abs=0.01)
    assert row.sound_end == pytest.approx(sound, abs=0.1)
    assert row.duration == max(row.picture_end, row.sound_end)
    store = Store(tmp_path / 'store')
    assert store.columns['rgb'].lengths.tolist() == [pictures]
    assert store.columns['flow'].lengths.tolist() == [pictures if pictures > 1 else 0]
    assert store.columns['audio'].lengths[0] == pytest.approx(row.duration * 100, abs=1)


def test_the_same_bytes_from_a_pool(folder, built, tmp_path):
    catalog_builder.build(sources.read(str(folder / 'manifest.csv')), tmp_path, workers=2, progress=False)
    for name in ('catalog.csv', 'rejected.csv'):
        assert (tmp_path / name).read_bytes() == (built / name).read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ['catalog.csv', 'rejected.csv']


def test_no_readable_row(folder, tmp_path):
    clips = [clip for clip in sources.read(str(folder / 'manifest.csv')) if clip.name in ('cut.mp4', 'empty.mp4')]
    with pytest.raises(UserError, match=r'None of the 2 clips can be read; the first, cut\.mp4: it is .*cut off'):
        catalog_builder.build(clips, tmp_path / 'new', workers=1, progress=False)
    assert not (tmp_path / 'new').exists()


def test_a_folder_that_cannot_be_written(folder, tmp_path):
    (tmp_path / 'file').write_text('')
    with pytest.raises(UserError, match='cannot be written'):
        catalog_builder.build(sources.read(str(folder / 'manifest.csv')), tmp_path / 'file' / 'new', 1, progress=False)


def test_no_catalog(tmp_path):
    with pytest.raises(UserError, match=r'no catalog .*catalog\.csv'):
        catalog.read(tmp_path)


@pytest.mark.parametrize('name', ['grid', 'fights', 'esc10'])
def test_real_manifests(shared_data, tmp_path, name):
    clips = sources.read(str(shared_data / name / 'manifest.csv'))
    kept = clips[::10]
    catalog_builder.build(kept, tmp_path, workers=1, progress=False)
    read = catalog.read(tmp_path)
    assert len(read) == len(kept)
    assert read[0].audio_rate is not None or name == 'fights'
