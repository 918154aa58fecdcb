"""Files read by a run give the batches of evaluation of a store that was prepared from them, bit for bit."""

import csv
import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from tests import fakes
from tests.media.files import write_media
from vmmjax.errors import UserError
from vmmjax.media.probe import MediaError
from vmmjax.pipeline import inputs
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import NoTargets
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Audio, Flow, Mfcc, Rgb, Waveform
from vmmjax.prepare.file_store import FileStore
from vmmjax.prepare.sources.clip import Clip, of_file
from vmmjax.store.catalog import ClipInfo
from vmmjax.store.store import Store

Batch = dict[str, np.ndarray]
# Whole clips, windows of files, an end past the file's; a file turned upright, one whose sound is late, sound alone.
ROWS = [('000.mp4', 'train', '', '', 'place red at a zero', 'red'),
        ('001.mp4', 'train', '', '', 'bin blue now', 'blue'),
        ('002.mp4', 'test', '', '', 'place blue now', 'blue'), ('003.mp4', 'test', '0.2', '0.9', '', 'red'),
        ('004.mp4', 'test', '0.35', '', 'bin green at zero', ''), ('005.mp4', 'test', '', '99', 'now', 'red'),
        ('006.mp4', 'test', '', '', 'set red', 'red'), ('100.mp4', 'test', '', '', 'zero', ''),
        ('101.mkv', 'test', '0.1', '1.15', 'at', ''), ('102.wav', 'test', '', '', 'a', '')]
PICTURES = {'rgb': {'modality': 'rgb', 'frames': 4, 'size': 16, 'sampling': 'segments'},
            'every': {'modality': 'rgb', 'size': 12, 'region': (0.1, 0.0, 0.9, 1.0)},
            'slow': {'modality': 'rgb', 'rate': 5.0, 'size': 20, 'sampling': 'strided'},
            'flow': {'modality': 'flow', 'frames': 3, 'size': 16},
            'stack': {'modality': 'flow', 'frames': 2, 'size': 16, 'stack': 3}}
REST = {'audio': {'modality': 'audio'}, 'mfcc': {'modality': 'mfcc'}, 'waveform': {'modality': 'waveform'},
        'ramp': {'modality': 'ramp'}, 'gradient': {'modality': 'gradient', 'frames': 3, 'size': 32},
        'words': {'modality': 'text:text', 'length': 6, 'hide': ('color',)}}
COLUMNS = (Rgb(fps=10, short_side=24), Flow(fps=10, short_side=24, flow='dis', flow_on='source'),
           Audio(audio_rate=8000, fmax=3800.0, bands=16), Mfcc(audio_rate=8000, bands=20, coefficients=8),
           Waveform(audio_rate=8000, denoise=0.5, trim_db=30.0), fakes.Ramp(broken=('nothing.mp4',)), fakes.Gradient())


def _config(streams: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {'window': {'seconds': 0.6, 'start': None}, 'streams': streams, 'target': 'label', 'augment': {},
            'dropout': {}, 'views': {}, 'on_damage': 'stop'} | changes


@pytest.fixture(scope='module')
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('files')
    fakes.write_source(folder, {'train': 7})
    rng = np.random.default_rng(1)
    frames = np.repeat(np.repeat(rng.integers(0, 256, (30, 4, 5, 3), np.uint8), 8, 1), 8, 2)
    sound = 0.2 * rng.standard_normal(16000).astype(np.float32)
    write_media(folder / '100.mp4', frames, waveform=sound, rotate=90)
    write_media(folder / '101.mkv', frames, [35 * i for i in range(30)], waveform=sound, sound_at_ms=300)
    write_wav(folder / '102.wav', sound)
    path = folder / 'clips.csv'
    with open(path, 'w', newline='') as file:
        csv.writer(file).writerows([['path', 'split', 'start', 'end', 'text', 'color'], *ROWS])
    return path


def write_wav(path: Path, sound: np.ndarray) -> None:
    import wave

    with wave.open(str(path), 'wb') as file:
        file.setparams((1, 2, 16000, 0, 'NONE', ''))
        file.writeframes(np.rint(sound * 32767).astype('<i2').tobytes())


def _prepared(manifest: Path, path: Path, columns: Sequence[Any]) -> Store:
    prepare(sources.read(str(manifest)), path, columns, origin='files', processes=1, progress=False)
    return Store(path)


@pytest.fixture(scope='module')
def store(manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Not to be changed."""
    return _prepared(manifest, tmp_path_factory.mktemp('stores') / 'store', COLUMNS)


def _clips(manifest: Path, split: str = 'test') -> list[Clip]:
    return [clip for clip in sources.read(str(manifest)) if clip.split == split]


def _kept(store: Store, data: dict[str, Any]) -> dict[str, Any]:
    """What a run reads of its store, as it comes back from its folder."""
    return inputs.checked(json.loads(json.dumps(inputs.describe(store, data))), 'run')


def _batches(store: Store, data: dict[str, Any], split: str) -> list[Batch]:
    return list(Pipeline(store, data, split=split, batch_size=3, train=False, seed=0, labels=NoTargets()).batches())


def _assert_equal(expected: list[Batch], found: list[Batch], first: int) -> None:
    """All keys are equal, but that rows are counted from the split's first."""
    assert len(expected) == len(found)
    for one, other in zip(expected, found, strict=True):
        assert list(one) == list(other)
        for key, values in one.items():
            if key == 'id':
                values = np.where(values < 0, values, values - first)
            assert values.dtype == other[key].dtype
            np.testing.assert_array_equal(values, other[key], err_msg=key, strict=True)


def _check(store: Store, clips: Sequence[Clip], data: dict[str, Any]) -> FileStore:
    files = FileStore(_kept(store, data), clips)
    rows = store.rows('test')
    assert not files.errors
    np.testing.assert_array_equal(files.durations, store.durations[rows.start:rows.stop])
    _assert_equal(_batches(store, data, 'test'), _batches(files, data, 'predict'), rows.start)
    return files


@pytest.mark.parametrize(('streams', 'changes'), [
    ({**PICTURES, **REST}, {}),
    ({**PICTURES, **REST}, {'window': {'seconds': 0.5, 'start': (0.1, 0.3)}, 'views': {'clips': 3, 'crops': 3}}),
    ({name: PICTURES[name] for name in ('rgb', 'flow', 'stack')},
     {'window': {'seconds': 0.0, 'start': None}, 'views': {'clips': 2, 'crops': 5}}),
    ({'waveform': {'modality': 'waveform'}}, {'window': {'seconds': 2.0, 'start': None}})])
def test_files_are_read_as_the_store_of_them(store: Store, manifest: Path, streams: dict[str, Any],
                                             changes: dict[str, Any]) -> None:
    files = _check(store, _clips(manifest), _config(streams, **changes))
    assert set(files.columns) == {stream['modality'] for stream in streams.values()
                                  if not stream['modality'].startswith('text:')}
    assert not files.undecoded
    batches = _batches(files, _config(streams, **changes), 'predict')
    for name in streams:
        assert any(batch[f'present/{name}'].any() for batch in batches), 'otherwise nothing was compared'


def test_the_catalog_and_the_records_are_those_of_the_store(store: Store, manifest: Path) -> None:
    files = FileStore(_kept(store, _config({**PICTURES, **REST})), _clips(manifest))
    assert files.splits == {'predict': range(8)}
    assert len(files) == 8
    for name in ('id', 'path', 'start', 'end', 'duration', 'fps', 'width', 'height', 'audio_rate', 'text', 'color'):
        np.testing.assert_array_equal(files.values(name), store.values(name)[2:], err_msg=name)
    assert files.classes('color') == ['blue', 'red']
    assert files.clip(1) == store.clip(3)
    for name, column in files.columns.items():
        theirs = store.columns[name]
        assert (column.kind, column.rate, column.chunk, column.shape) == (
            theirs.kind, theirs.rate, theirs.chunk, theirs.shape)
        np.testing.assert_array_equal(column.lengths, theirs.lengths[2:])
        np.testing.assert_array_equal(column.sizes, theirs.sizes[2:])
        np.testing.assert_array_equal(column.offsets, theirs.offsets[2:] - theirs.offsets[2])
        count = int(column.offsets[-1])
        frames, expected = (
            [_content(record) for record in of.records(np.arange(first, first + count))]
            for of, first in ((column, 0), (theirs, int(theirs.offsets[2]))))
        assert frames == expected, f'{name}: encoded pictures and numbers are the same bytes'


def _content(record: bytes) -> bytes:
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example.FromString(record).features.feature['frames'].SerializeToString()


@dataclasses.dataclass(frozen=True)
class Louder(Audio):
    """A column of one's own that is one of ours with an option more."""

    gains: tuple[float, ...] = (1.0,)

    name: ClassVar[str] = 'louder'

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        assert isinstance(self.gains, tuple)
        for x in super().read(path, clip):
            yield np.float32(sum(self.gains)) * x


@pytest.mark.parametrize('column', [
    Audio(), Audio(front_end='vggish'), Audio(front_end='panns_32k'), Audio(front_end='panns_16k', denoise=0.4),
    Audio(audio_rate=22050, hop_ms=12.5, bands=20, trim_db=20.0), Louder(gains=(0.5, 2.25))])
def test_every_front_end_and_the_store_is_gone(column: Audio, manifest: Path, tmp_path: Path) -> None:
    store = _prepared(manifest, tmp_path / 'store', [column])
    data = _config({'sound': {'modality': column.name}})
    kept, expected, first = _kept(store, data), _batches(store, data, 'test'), store.rows('test').start
    shutil.rmtree(tmp_path / 'store')
    assert expected[0]['present/sound'].any()
    _assert_equal(expected, _batches(FileStore(kept, _clips(manifest)), data, 'predict'), first)


@pytest.mark.parametrize('options', [
    {'tokenizer': 'words'}, {'tokenizer': 'characters', 'lowercase': False, 'length': 20},
    {'tokenizer': 'wordpiece', 'length': 12, 'hide': ('color',)}])
def test_texts_and_their_vocabulary_need_no_file(options: dict[str, Any], store: Store, manifest: Path, tmp_path: Path
                                                 ) -> None:
    if options['tokenizer'] == 'wordpiece':
        pytest.importorskip('tokenizers')
        vocabulary = tmp_path / 'vocab.txt'
        vocabulary.write_text('[PAD] [UNK] [CLS] [SEP] [MASK] pla ##ce bin at now zero a'.replace(' ', '\n'))
        options = options | {'vocab': str(vocabulary)}
    data = _config({'words': {'modality': 'text:text', **options}, 'ramp': {'modality': 'ramp'}})
    kept, expected = _kept(store, data), _batches(store, data, 'test')
    if 'vocab' in options:
        vocabulary.unlink()
    found = _batches(FileStore(kept, _clips(manifest)), data, 'predict')
    _assert_equal(expected, found, 2)
    assert len(set(map(tuple, found[0]['words'].tolist()))) == 3


def test_a_text_that_is_not_given_is_absent(store: Store, manifest: Path) -> None:
    data = _config({name: REST[name] for name in ('words', 'ramp')})
    paths = [clip.path for clip in _clips(manifest)[:2]]
    files = FileStore(_kept(store, data), [of_file(paths[0]), of_file(paths[1], texts={'text': 'bin at', 'note': 'x'})])
    batch, = _batches(files, data, 'predict')
    np.testing.assert_array_equal(batch['present/words'], [False, True, False])
    np.testing.assert_array_equal(batch['present/ramp'], [True, True, False])
    assert files.values('note').tolist() == ['', 'x']
    with pytest.raises(UserError, match="text 'duration', which the catalog measures itself"):
        FileStore(_kept(store, data), [of_file(paths[0], texts={'duration': '3'})])


def test_a_file_that_cannot_be_read_costs_only_itself(store: Store, manifest: Path, tmp_path: Path) -> None:
    whole = _clips(manifest)[0]
    (tmp_path / 'text.mp4').write_text('no film')
    (tmp_path / 'empty.mp4').touch()
    shutil.copy(whole.path, tmp_path / 'nothing.mp4')
    cut = whole.path.read_bytes()
    (tmp_path / 'cut.mp4').write_bytes(cut[:len(cut) // 2])
    data = _config({'rgb': PICTURES['rgb'], 'audio': REST['audio']})
    clips = [of_file(tmp_path / 'text.mp4'), whole, of_file(tmp_path / 'none.mp4'), of_file(tmp_path / 'empty.mp4'),
             of_file(whole.path, start=50.0), of_file(tmp_path / 'cut.mp4'), whole]
    files = FileStore(_kept(store, data), clips)
    assert files.errors.keys() == {0, 2, 3, 4, 5}
    assert all(isinstance(error, MediaError) for error in files.errors.values())
    assert str(files.errors[2]) == f'{tmp_path}/none.mp4: there is no such file.'
    assert 'starts at 50.0 s, but the file ends at' in str(files.errors[4])
    np.testing.assert_array_equal(files.places, [1, 6])
    batch, = _batches(files, data, 'predict')
    np.testing.assert_array_equal(batch['id'], [0, 1, -1])
    np.testing.assert_array_equal(batch['rgb'][0], batch['rgb'][1])
    none = FileStore(_kept(store, data), clips[:1])
    assert _batches(none, data, 'predict') == []
    # What a column cannot decode is absent, as in a store.
    ramp = _config({'ramp': REST['ramp'], 'rgb': PICTURES['rgb']})
    nothing = of_file(tmp_path / 'nothing.mp4')
    nothing = dataclasses.replace(nothing, name='nothing.mp4')
    partly = FileStore(_kept(store, ramp), [nothing])
    assert list(partly.undecoded[0]) == ['ramp']
    batch, = _batches(partly, ramp, 'predict')
    assert (bool(batch['present/ramp'][0]), bool(batch['present/rgb'][0])) == (False, True)
    assert not partly.empty
    ramp['streams'].pop('rgb')
    assert 'is no ramp' in str(FileStore(_kept(store, ramp), [nothing]).empty[0])
    silent = FileStore(_kept(store, _config({'audio': REST['audio']})), [whole, of_file(manifest.parent / '006.mp4')])
    assert silent.empty.keys() == {1}
    assert 'has nothing that the network reads (audio)' in str(silent.empty[1])


@dataclasses.dataclass(frozen=True)
class Deadly(fakes.Ramp):
    """Reading ends the process, as some damaged files do."""

    name: ClassVar[str] = 'deadly'

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        if clip.duration > 1.0:
            import ctypes

            ctypes.string_at(0)
        yield from super().read(path, clip)


def test_a_file_that_crashes_the_reader_costs_only_itself(manifest: Path, tmp_path: Path) -> None:
    store = _prepared(manifest, tmp_path / 'store', [Deadly()])
    files = FileStore(_kept(store, _config({'deadly': {'modality': 'deadly'}})),
                      [of_file(manifest.parent / f'{name}.mp4') for name in ('000', '005', '001')])
    assert files.empty.keys() == {1}
    assert 'crashes FFmpeg (SIGSEGV)' in str(files.empty[1])
    np.testing.assert_array_equal(files.columns['deadly'].lengths, [8, 0, 9])


def test_a_class_of_ones_own_is_recorded_and_may_be_gone(store: Store, manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / 'store'
    shutil.copytree(store.path, folder)
    file = folder / 'ramp' / 'column.json'
    recorded = file.read_text()
    assert json.loads(recorded)['builder'] == 'tests.fakes:Ramp'
    assert 'builder' not in json.loads((folder / 'rgb' / 'column.json').read_text())
    older = {key: value for key, value in json.loads(recorded).items() if key != 'builder'}
    file.write_text(json.dumps(older))
    data, clips = _config({'ramp': REST['ramp']}), _clips(manifest)
    with pytest.raises(UserError, match=r"class of the column 'ramp' was not recorded .*run the same `vmmjax prepare`"):
        FileStore(_kept(Store(folder), data), clips)
    _prepared(manifest, folder, COLUMNS)
    assert json.loads(file.read_text()) == json.loads(recorded)
    kept = _kept(Store(folder), data)
    ramp = kept['columns']['ramp']
    for changed, said in (({'builder': 'tests.fakes:Gone'}, "'tests.fakes:Gone' could not be imported"),
                          ({'rate': 11.0}, r"had \(kind, rate, shape\) \('array', 11.0"),
                          ({'options': {'slope': 2}}, 'which it does not take now'),
                          ({'options': None}, 'was made from arrays')):
        with pytest.raises(UserError, match=said):
            FileStore(kept | {'columns': {'ramp': ramp | changed}}, clips)


def test_an_unfinished_column_of_an_older_vmmjax_goes_on(manifest: Path, tmp_path: Path) -> None:
    """Its plan knows no builder."""
    store = _prepared(manifest, tmp_path / 'store', [fakes.Ramp()])
    whole = json.loads((store.path / 'ramp' / 'column.json').read_text())
    begun = store.path / 'ramp' / 'shards' / 'plan.json'
    begun.parent.mkdir()
    begun.write_text(json.dumps({key: whole[key] for key in ('kind', 'rate', 'chunk', 'shape', 'options', 'versions')}))
    (store.path / 'ramp' / 'column.json').unlink()
    again = _prepared(manifest, tmp_path / 'store', [fakes.Ramp()])
    assert json.loads((again.path / 'ramp' / 'column.json').read_text()) == whole


@pytest.mark.parametrize(('start', 'end', 'said'), [
    (-1.0, None, 'starts at -1.0 s'), (None, float('nan'), 'ends at nan s'), (2.0, 2.0, 'not after its start')])
def test_times_that_make_no_sense(start: float | None, end: float | None, said: str) -> None:
    with pytest.raises(UserError, match=said):
        of_file('clip.mp4', start=start, end=end)


def test_synthetic_clips(tmp_path: Path) -> None:
    clips = sources.read('synthetic:motion_sound', generated=tmp_path / 'files', sizes={'train': 1, 'test': 3},
                         progress=False)
    prepare(clips, tmp_path / 'store', [Rgb(short_side=48), Audio()], origin='real', processes=1, progress=False)
    _check(Store(tmp_path / 'store'), clips[1:], _config(
        {'rgb': {'modality': 'rgb', 'frames': 8, 'size': 40}, 'audio': {'modality': 'audio'}},
        window={'seconds': 1.0, 'start': None}, views={'clips': 2, 'crops': 3}))


def test_clips_of_grid(shared_data: Path, tmp_path: Path) -> None:
    """Frames of the mouth and sound in one window."""
    clips = sources.read(str(shared_data / 'grid' / 'manifest.csv'))
    clips = [next(clip for clip in clips if clip.split == 'train'),
             *[clip for clip in clips if clip.split == 'test'][:3]]
    prepare(clips, tmp_path / 'store', [Rgb(), Audio(), Waveform()], origin='grid', processes=1, progress=False)
    _check(Store(tmp_path / 'store'), clips[1:], _config(
        {'rgb': {'modality': 'rgb', 'frames': 20, 'size': 56, 'region': (0.5, 0.25, 1.0, 0.75)},
         'audio': {'modality': 'audio'}, 'waveform': {'modality': 'waveform'},
         'text': {'modality': 'text:text', 'hide': ('command',)}}, window={'seconds': 2.0, 'start': None}))
