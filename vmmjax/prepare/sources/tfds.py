"""Data sets of TensorFlow Datasets whose examples hold a video."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import SPLITS
from vmmjax.prepare.sources.record_files import Example, Shard, tfrecords
from vmmjax.store.catalog import JOIN


def shards(name: str, fps: float | None) -> tuple[list[Shard], dict[str, object]]:
    """The shards of a data set that `tfds build` prepared, and what makes it this one.

    It must have one feature of kind Video, or one named `video` among several, and may have one of kind Audio (a
    whole number is taken as a sample of 16 bits). Numbers, texts, class labels and sequences of them become labels,
    the latter joined by semicolons; any other feature is left out.

    Args:
      name: such as `ucf101/ucf101_1:2.0.0`, or the folder of a prepared data set (it holds dataset_info.json).
      fps: pictures a second, which TFDS does not record.

    Raises:
      UserError: for a name that TFDS does not know, a data set that is not prepared, or one without a video.
    """
    import tensorflow_datasets as tfds
    if Path(name).is_dir():
        if not (Path(name) / 'dataset_info.json').is_file():
            raise UserError(f'The folder {name} holds no data set of TFDS (dataset_info.json): name the folder of its '
                            f'version.')
        builder = tfds.builder_from_directory(name)
    else:
        try:
            builder = tfds.builder(name)
        except (tfds.core.registered.DatasetNotFoundError, ValueError) as error:
            raise UserError(f'TFDS knows no data set {name!r}: {str(error).splitlines()[0]}') from error
        if not (builder.data_path / 'dataset_info.json').exists():
            raise UserError(f'The data set {name} is not prepared in {builder.data_path}: run `tfds build {name}`, '
                            f'or name the folder in which it lies.')
    _parts(builder.info.features, name)
    if fps is None:
        raise UserError(f'TFDS does not record how many pictures a second {name} has: give it as --source_fps '
                        f'(UCF101 has 25).')
    found = []
    for split, info in builder.info.splits.items():
        for number, file in enumerate(info.filepaths):
            found.append(Shard(f'{split}_{number:05d}', SPLITS.get(split, split),
                               partial(_examples, str(builder.data_path), str(file), fps)))
    return found, {'tfds': builder.info.full_name, 'fps': fps}


def _parts(features: Any, name: str) -> tuple[str, str | None]:
    """The names of the video's feature, and of the sound's."""
    import tensorflow_datasets as tfds
    videos = [key for key, feature in features.items() if isinstance(feature, tfds.features.Video)]
    sounds = [key for key, feature in features.items() if isinstance(feature, tfds.features.Audio)]
    if 'video' in videos:
        videos = ['video']
    if len(videos) != 1:
        raise UserError(f'The data set {name} has {"several videos" if videos else "no video"} among its features '
                        f'({", ".join(sorted(features))}): one is needed, or one of the name video.')
    return videos[0], sounds[0] if sounds else None


def _examples(folder: str, file: str, fps: float) -> Iterator[Example]:
    import tensorflow_datasets as tfds
    builder = tfds.builder_from_directory(folder)
    features = builder.info.features
    video, sound = _parts(features, folder)
    skip = {video: tfds.decode.SkipDecoding()}
    for record in _records(file, builder.info.file_format.value):
        values = tfds.as_numpy(features.deserialize_example(record, decoders=skip))
        # Sorted: a map of a protocol buffer has no order.
        labels = {key: text for key in sorted(features) if key not in (video, sound)
                  if (text := _text(features[key], values[key])) is not None}
        waveform, rate = None, 0
        if sound is not None:
            waveform, rate = _waveform(values[sound]), features[sound].sample_rate
            if not rate:
                raise UserError(f'The data set {folder} does not say the sample rate of its feature {sound}.')
        yield Example([bytes(picture) for picture in values[video]], fps, labels, waveform, rate)


def _records(file: str, file_format: str) -> Iterator[bytes]:
    if file_format == 'array_record':
        from array_record.python.array_record_data_source import ArrayRecordDataSource
        with ArrayRecordDataSource([file]) as source:
            for index in range(len(source)):
                yield source[index]
        return
    if file_format != 'tfrecord':
        raise UserError(f'{file} is in the format {file_format}: tfrecord and array_record are read.')
    yield from tfrecords(Path(file))


def _waveform(samples: np.ndarray) -> np.ndarray:
    """float32 (S,) of (S,) or (S, channels)."""
    floats = samples / 2.0 ** 15 if np.issubdtype(samples.dtype, np.integer) else samples
    return (floats.mean(1) if floats.ndim == 2 else floats).astype(np.float32)


def _text(feature: Any, value: Any) -> str | None:
    """A label's text; None for what is no label."""
    import tensorflow_datasets as tfds
    if isinstance(feature, tfds.features.ClassLabel):
        return feature.int2str(int(value)) if value >= 0 else ''  # -1 stands for no label.
    if isinstance(feature, tfds.features.Sequence) and isinstance(feature.feature, tfds.features.Tensor):
        parts = [_text(feature.feature, part) for part in value]
        return None if None in parts else JOIN.join(str(part) for part in parts)
    if not isinstance(feature, tfds.features.Tensor) or feature.shape != ():
        return None
    return value.decode() if isinstance(value, bytes) else str(value)
