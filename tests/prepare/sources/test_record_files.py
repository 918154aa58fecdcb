import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.media.probe import probe
from vmmjax.prepare import catalog_builder, sources
from vmmjax.prepare.audio_columns import Waveform
from vmmjax.prepare.build import prepare
from vmmjax.store import catalog

RATE = 16000


def jpeg(value: int) -> bytes:
    return cv2.imencode('.jpg', np.full((24, 32, 3), value, np.uint8))[1].tobytes()


def pictures_in(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def samples_in(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])


def waveform(number: int) -> np.ndarray:
    return np.random.default_rng(number).uniform(-1, 1, RATE // 2).astype(np.float32)


@pytest.fixture(scope='module')
def records(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """DMVR's files as its own writer lays them out: six training clips in two files, and one for the test."""
    import tensorflow as tf
    folder = tmp_path_factory.mktemp('dmvr')
    for name, numbers in (('train_1-00000-of-00002', (0, 1, 2)), ('train_1-00001-of-00002', (3, 4, 5)),
                          ('test_1-00000-of-00001', (6,))):
        with tf.io.TFRecordWriter(str(folder / name)) as writer:
            for number in numbers:
                record = tf.train.SequenceExample()
                context, lists = record.context.feature, record.feature_lists.feature_list
                context['clip/label/index'].int64_list.value[:] = [number % 2]
                context['clip/label/text'].bytes_list.value[:] = [('walk', 'run')[number % 2].encode()]
                context['caption/string'].bytes_list.value[:] = [f'clip {number}, grün'.encode()]
                context['video/filename'].bytes_list.value[:] = [f'/data/videos/{number}.avi'.encode()]
                context['clip/start/timestamp'].int64_list.value[:] = [0]
                for picture in range(5):
                    lists['image/encoded'].feature.add().bytes_list.value[:] = [jpeg(40 * number + picture)]
                if number != 1:
                    lists['WAVEFORM/feature/floats'].feature.add().float_list.value[:] = waveform(number)
                writer.write(record.SerializeToString())
    return folder


@pytest.fixture(scope='module')
def read_dmvr(records: Path) -> Callable[..., list[sources.Clip]]:
    def read(out: Path, **options: object) -> list[sources.Clip]:
        given = {'fps': 10.0, 'audio_rate': RATE, 'progress': False} | options
        return sources.read(f'dmvr:{records}/train_1-*,{records}/test_1-*', generated=out, **given)
    return read


@pytest.fixture(scope='module')
def from_dmvr(read_dmvr: Callable[..., list[sources.Clip]], tmp_path_factory: pytest.TempPathFactory
              ) -> list[sources.Clip]:
    return read_dmvr(tmp_path_factory.mktemp('files'), workers=2)


def test_pictures_and_sound_of_sequence_examples_are_unchanged(from_dmvr):
    assert [clip.split for clip in from_dmvr] == ['train'] * 6 + ['test']
    for number, clip in enumerate(from_dmvr):
        assert pictures_in(clip.path) == [jpeg(40 * number + picture) for picture in range(5)]
        if number != 1:
            np.testing.assert_array_equal(samples_in(clip.path), waveform(number))
    found = probe(from_dmvr[0].path)
    assert (found.fps, found.duration, found.audio_rate) == (10, 0.5, RATE)
    assert probe(from_dmvr[1].path).audio_rate is None


def test_labels_of_sequence_examples(from_dmvr):
    assert from_dmvr[3].labels == {'label': 'run', 'text': 'clip 3, grün', 'video': '3.avi'}


def test_a_label_may_hold_a_carriage_return(tmp_path):
    import tensorflow as tf
    record = tf.train.SequenceExample()
    record.context.feature['clip/label/text'].bytes_list.value[:] = [b'one\rtwo, "three"']
    record.feature_lists.feature_list['image/encoded'].feature.add().bytes_list.value[:] = [jpeg(0)]
    with tf.io.TFRecordWriter(str(tmp_path / 'train')) as writer:
        writer.write(record.SerializeToString())
    clip, = sources.read(f'dmvr:{tmp_path}/train', generated=tmp_path / 'out', fps=10, progress=False)
    assert clip.labels['label'] == 'one\rtwo, "three"'


def test_rates_that_records_do_not_hold_must_be_given(read_dmvr, tmp_path):
    with pytest.raises(UserError, match='give it as --source_fps'):
        read_dmvr(tmp_path, fps=None)
    with pytest.raises(UserError, match='give it as --source_audio_rate'):
        read_dmvr(tmp_path, audio_rate=None)
    assert not list(tmp_path.iterdir())


def test_rates_that_records_hold_are_used(tmp_path):
    import tensorflow as tf
    record = tf.train.SequenceExample()
    record.context.feature['image/frame_rate'].float_list.value[:] = [25.0]
    record.context.feature['WAVEFORM/feature/sample_rate'].float_list.value[:] = [8000.0]
    record.context.feature['clip/label/index'].int64_list.value[:] = [3, 17]
    for picture in range(5):
        record.feature_lists.feature_list['image/encoded'].feature.add().bytes_list.value[:] = [jpeg(picture)]
    record.feature_lists.feature_list['WAVEFORM/feature/floats'].feature.add().float_list.value[:] = waveform(0)
    with tf.io.TFRecordWriter(str(tmp_path / 'validation.tfrecord')) as writer:
        writer.write(record.SerializeToString())
    clip, = sources.read(f'dmvr:{tmp_path}/validation.tfrecord', generated=tmp_path / 'out', progress=False)
    found = probe(clip.path)
    assert (clip.split, clip.labels['label'], found.fps, found.audio_rate) == ('validation', '3;17', 25, 8000)


@pytest.mark.parametrize('rate', [np.nan, np.inf, -25.0, 1e30])
@pytest.mark.parametrize('key', ['image/frame_rate', 'WAVEFORM/feature/sample_rate'])
def test_a_record_with_a_rate_that_is_none_is_rejected(tmp_path, key, rate):
    import tensorflow as tf
    with tf.io.TFRecordWriter(str(tmp_path / 'train')) as writer:
        for its in (25.0, rate):
            record = tf.train.SequenceExample()
            record.context.feature[key].float_list.value[:] = [its]
            record.feature_lists.feature_list['image/encoded'].feature.add().bytes_list.value[:] = [jpeg(0)]
            writer.write(record.SerializeToString())
    clips = sources.read(f'dmvr:{tmp_path}/train', generated=tmp_path / 'out', fps=10, audio_rate=RATE, progress=False)
    assert [clip.path.stat().st_size > 0 for clip in clips] == [True, False]


def test_a_sound_in_a_record_that_is_no_number_is_rejected(tmp_path):
    import tensorflow as tf
    with tf.io.TFRecordWriter(str(tmp_path / 'train')) as writer:
        for number in (0.5, np.nan, np.inf, 1e30):
            record = tf.train.SequenceExample()
            sound = np.append(waveform(0), number)
            record.feature_lists.feature_list['WAVEFORM/feature/floats'].feature.add().float_list.value[:] = sound
            writer.write(record.SerializeToString())
    clips = sources.read(f'dmvr:{tmp_path}/train', generated=tmp_path / 'out', audio_rate=RATE, progress=False)
    prepare(clips, tmp_path / 'store', [Waveform()], origin='records', processes=1, progress=False)
    assert (tmp_path / 'store' / 'rejected.csv').read_text().count('samples that are no numbers') == 3


def test_an_empty_record_is_rejected_and_the_others_are_read(tmp_path):
    import tensorflow as tf
    empty, damaged, whole = (tf.train.SequenceExample() for _ in range(3))
    damaged.feature_lists.feature_list['image/encoded'].feature.add().bytes_list.value[:] = [jpeg(0)[:40]]
    whole.feature_lists.feature_list['image/encoded'].feature.add().bytes_list.value[:] = [jpeg(0)]
    with tf.io.TFRecordWriter(str(tmp_path / 'train')) as writer:
        for record in (empty, damaged, whole):
            writer.write(record.SerializeToString())
    clips = sources.read(f'dmvr:{tmp_path}/train', generated=tmp_path / 'out', fps=10, progress=False)
    catalog_builder.build(clips, tmp_path / 'store', workers=1, progress=False)
    assert catalog.read(tmp_path / 'store').columns['path'] == ['clips/00000_train/00002.mov']
    assert (tmp_path / 'store' / 'rejected.csv').read_text().count('the file is empty') == 2


def test_a_cut_off_file_of_records_is_named(records, tmp_path):
    cut = tmp_path / 'train'
    cut.write_bytes((records / 'train_1-00000-of-00002').read_bytes()[:-100])
    with pytest.raises(UserError, match=r'train is no whole TFRecord file'):
        sources.read(f'dmvr:{cut}', generated=tmp_path / 'out', fps=10, audio_rate=RATE, progress=False)
    (tmp_path / 'unknown-00000-of-00001').write_bytes(b'')
    with pytest.raises(UserError, match='tells no split'):
        sources.read(f'dmvr:{tmp_path}/unknown*', generated=tmp_path / 'out', fps=10, progress=False)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob('*') if path.is_file()}


def test_a_killed_run_goes_on_to_the_same_files(from_dmvr, read_dmvr, records, tmp_path):
    code = ('import sys, pathlib\nfrom vmmjax.prepare import sources\n'
            'sources.read(sys.argv[1], generated=pathlib.Path(sys.argv[2]), fps=10.0, audio_rate=16000)')
    process = subprocess.Popen([sys.executable, '-c', code, f'dmvr:{records}/train_1-*,{records}/test_1-*', tmp_path],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(tmp_path.glob('clips/*/*.mov')):
        assert process.poll() is None
        time.sleep(0.001)
    process.kill()
    process.wait()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob('clips/*/*.mov')}
    read_dmvr(tmp_path)
    assert contents(tmp_path) == contents(from_dmvr[0].path.parents[2])
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_a_finished_folder_is_read_again_without_the_records(from_dmvr, read_dmvr, tmp_path):
    out = from_dmvr[0].path.parents[2]
    before = {path: path.stat().st_mtime_ns for path in out.rglob('*')}
    assert read_dmvr(out) == from_dmvr
    assert {path: path.stat().st_mtime_ns for path in out.rglob('*')} == before
    with pytest.raises(UserError, match='made with other settings'):
        read_dmvr(out, fps=25.0)
    (tmp_path / 'manifest.csv').write_text('mine')
    with pytest.raises(UserError, match='a manifest that no source wrote'):
        read_dmvr(tmp_path)


def test_a_source_that_writes_needs_a_folder():
    for source in ('dmvr:train', 'tfds:ucf101', 'synthetic:motion_sound'):
        with pytest.raises(UserError, match='needs a folder'):
            sources.read(source)
