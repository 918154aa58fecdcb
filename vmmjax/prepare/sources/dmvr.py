"""SequenceExamples in TFRecord files, as DeepMind's video readers and MediaPipe have them."""

import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import split_in
from vmmjax.prepare.sources.record_files import Example, Shard, tfrecords
from vmmjax.store.catalog import JOIN

_MOST = 1e6  # A second, of pictures or samples: a record of more is damaged.


def shards(files: Sequence[Path], fps: float | None, audio_rate: int | None) -> tuple[list[Shard], dict[str, object]]:
    """The shards of a data set, and what makes it this one.

    The keys are DMVR's (github.com/google-deepmind/dmvr, `dmvr/modalities.py` and `examples/generate_from_file.py`):
    lists of features `image/encoded` (a JPEG file each) and `WAVEFORM/feature/floats` (all samples in one); in the
    context `clip/label/text`, or `clip/label/index` without it (several are joined by semicolons; column `label`),
    `caption/string` (column `text`) and `video/filename` (column `video`, without its folder). The rates are not
    among DMVR's keys; those of MediaPipe's MediaSequence (`image/frame_rate`, `WAVEFORM/feature/sample_rate`, and
    `clip/label/string` for the label) are used where they are there.

    Args:
      files: such as `train_1-00000-of-00059`; the split is in the name.
      fps: pictures a second where a record does not say.
      audio_rate: samples a second where a record does not say.

    Raises:
      UserError: for a name that tells no split.
    """
    return ([Shard(re.sub(r'\W', '_', f'{number:05d}_{file.name}'),
                   split_in(re.sub(r'-\d+-of-\d+.*', '', file.name), 'the file of records'),
                   partial(_examples, file, fps, audio_rate)) for number, file in enumerate(files)],
            {'dmvr': [[file.name, file.stat().st_size] for file in files], 'fps': fps, 'audio_rate': audio_rate})


def _examples(file: Path, fps: float | None, audio_rate: int | None) -> Iterator[Example]:
    from tensorflow_datasets.proto import (
        tf_example_pb2,  # Workers import this module: it takes them a fifth of a second.
    )

    for record in tfrecords(file):
        try:
            parsed = tf_example_pb2.SequenceExample.FromString(record)
        except DecodeError as error:
            raise UserError(f'{file} holds a record that is no SequenceExample: {error}.') from error
        yield _example(parsed, file, fps, audio_rate)


def _example(record: Any, file: Path, fps: float | None, audio_rate: int | None) -> Example:
    lists, context = record.feature_lists.feature_list, record.context.feature
    pictures = [picture for feature in lists['image/encoded'].feature for picture in feature.bytes_list.value]
    sound = lists['WAVEFORM/feature/floats'].feature
    waveform = np.asarray(sound[0].float_list.value, np.float32) if sound else None
    fps = _rate(context, 'image/frame_rate') or fps
    rate = _rate(context, 'WAVEFORM/feature/sample_rate') or audio_rate
    if pictures and fps is None:
        raise UserError(f'The records in {file} do not say how many pictures a second they hold: give it as '
                        f'--source_fps (DMVR\'s own writer takes 10 unless told otherwise).')
    if waveform is not None and rate is None:
        raise UserError(f'The records in {file} do not say the sample rate of their sound: give it as '
                        f'--source_audio_rate (DMVR\'s own writer takes 48000 unless told otherwise).')
    if any(not 0 < value < _MOST for value in (fps, rate) if value is not None):  # Nor are NaNs.
        pictures, waveform = [], None
    numbers = [str(number) for number in context['clip/label/index'].int64_list.value]
    labels = {'label': JOIN.join(_texts(context, 'clip/label/text') or _texts(context, 'clip/label/string') or numbers),
              'text': JOIN.join(_texts(context, 'caption/string')),
              'video': JOIN.join(Path(name).name for name in _texts(context, 'video/filename'))}
    return Example(pictures, fps or 1.0, labels, waveform, 0 if waveform is None else int(rate or 0))


def _rate(context: Any, key: str) -> float | None:
    values = context[key].float_list.value
    return float(values[0]) if values else None


def _texts(context: Any, key: str) -> list[str]:
    return [value.decode() for value in context[key].bytes_list.value]
