from pathlib import Path

import numpy as np
import pytest

from tests.prepare.sources.test_record_files import pictures_in, samples_in
from vmmjax.errors import UserError
from vmmjax.media.probe import probe
from vmmjax.prepare import sources

CLIPS = {'train': 5, 'val': 2}


@pytest.fixture(scope='module', params=['tfrecord', 'array_record'])
def prepared(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a data set that TFDS prepared in one of its formats, in several shards."""
    import tensorflow_datasets as tfds

    class Waves(tfds.core.GeneratorBasedBuilder, skip_registration=True):
        VERSION = tfds.core.Version('1.0.0')

        def _info(self):
            return tfds.core.DatasetInfo(builder=self, features=tfds.features.FeaturesDict({
                'video': tfds.features.Video(shape=(None, 24, 32, 3), encoding_format='jpeg'),
                'sound': tfds.features.Audio(sample_rate=8000), 'label': tfds.features.ClassLabel(names=['up', 'down']),
                'caption': tfds.features.Text(), 'height': np.int64, 'box': tfds.features.BBoxFeature(),
                'tags': tfds.features.Sequence(tfds.features.ClassLabel(names=['x', 'y']))}))

        def _split_generators(self, dl_manager):
            return {split: self._generate_examples(count) for split, count in CLIPS.items()}

        def _generate_examples(self, count):
            for number in range(count):
                yield number, {
                    'video': np.full((6, 24, 32, 3), 30 * number, np.uint8), 'sound': np.full(4800, 1000 * number),
                    'label': number % 2, 'caption': f'wave {number}', 'height': number,
                    'box': tfds.features.BBox(0.0, 0.0, 1.0, 1.0), 'tags': ['x', 'y'][:number % 3]}

    builder = Waves(data_dir=tmp_path_factory.mktemp(request.param), file_format=request.param)
    builder.download_and_prepare(download_config=tfds.download.DownloadConfig(num_shards=2))
    return Path(builder.data_path)


def test_a_prepared_data_set(prepared, tmp_path):
    clips = sources.read(f'tfds:{prepared}', generated=tmp_path, fps=10, progress=False)
    assert [clip.split for clip in clips] == ['train'] * 5 + ['validation'] * 2
    assert {clip.path.parent.name for clip in clips} == {'train_00000', 'train_00001', 'val_00000', 'val_00001'}
    assert sorted(clip.labels['caption'] for clip in clips[:5]) == [f'wave {number}' for number in range(5)]
    for clip in clips:
        number = int(clip.labels['height_'])
        assert clip.labels == {'caption': f'wave {number}', 'height_': str(number), 'label': ('up', 'down')[number % 2],
                               'tags': ('', 'x', 'x;y')[number % 3]}
        np.testing.assert_allclose(samples_in(clip.path), np.full(4800, number * 1000 / 2 ** 15), atol=1e-7)
        found = probe(clip.path)
        assert (found.fps, found.duration, found.width, found.height) == (10, 0.6, 32, 24)


@pytest.mark.parametrize('prepared', ['tfrecord'], indirect=True)
def test_the_pictures_bytes_are_the_data_sets(prepared, tmp_path):
    import tensorflow_datasets as tfds
    builder = tfds.builder_from_directory(prepared)
    clips = sources.read(f'tfds:{prepared}', generated=tmp_path, fps=10, progress=False)
    examples = builder.as_dataset('train', decoders={'video': tfds.decode.SkipDecoding()}, shuffle_files=False)
    assert [pictures_in(clip.path) for clip in clips[:5]] == [
        list(example['video']) for example in tfds.as_numpy(examples)]


def test_what_is_missing_is_named(prepared, tmp_path):
    with pytest.raises(UserError, match='give it as --source_fps'):
        sources.read(f'tfds:{prepared}', generated=tmp_path)
    with pytest.raises(UserError, match='holds no data set of TFDS'):
        sources.read(f'tfds:{prepared.parent}', generated=tmp_path, fps=10)


def test_names_of_data_sets(tmp_path, monkeypatch):
    import tensorflow_datasets as tfds
    monkeypatch.setattr(tfds.core.constants, 'DATA_DIR', str(tmp_path))
    with pytest.raises(UserError, match="TFDS knows no data set 'ucf1O1'"):
        sources.read('tfds:ucf1O1', generated=tmp_path, fps=10)
    with pytest.raises(UserError, match=r'is not prepared in .*: run `tfds build ucf101`'):
        sources.read('tfds:ucf101', generated=tmp_path, fps=25)
