r"""Predicts what is in video and sound files, by a published network or a run of your own.

  vmmjax predict holiday.mp4
  vmmjax predict clips/*.mp4 --top=3
  vmmjax predict clips/*.mp4 --json > seen.jsonl
  vmmjax predict clip.mp4 --weights=runs/mine
  vmmjax predict clip.mp4 --weights=resnet50.pth --classes=imagenet_classes.txt

The network is the I3D of Kinetics-400 unless --weights names another: a published file of I3D, TSM, TSN or an image
network, or a folder that `vmmjax train` made. I3D sees windows of 64 frames at 25 per second, one after another, and
their scores are averaged; TSM and TSN see 8 frames spread over the video.

A run of `vmmjax train` reads every file as it read the clips of its evaluation, all of its streams, in its own window
and test views; its store is not needed. A stream that a file lacks, such as sound, is absent, and that is said. With
--json every file is one JSON object on a line of its own, with its `error` if it could not be read.
"""

import io
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from vmmjax import convert
from vmmjax.convert.files import is_run
from vmmjax.errors import UserError
from vmmjax.pipeline.views import AVERAGES
from vmmjax.serving.classes import KINETICS, kinetics_classes, read_classes
from vmmjax.serving.predict import Prediction, Predictor
from vmmjax.text_table import aligned
from vmmjax.training.runtime import keep_compiled

if TYPE_CHECKING:
    from vmmjax.experiment import Experiment

POSITIONAL = 'VIDEO...'
WEIGHTS = flags.DEFINE_string(
    'weights', 'i3d_rgb_kinetics400', 'What load_pretrained takes: a published file, a run, or i3d_rgb_kinetics400.')
TOP = flags.DEFINE_integer('top', 5, 'How many classes to name.', lower_bound=1)
JSON = flags.DEFINE_boolean('json', False, 'Print a JSON object a line, and nothing else.')
CLASSES = flags.DEFINE_string('classes', '', 'Text file with the name of a class a line, if the weights have none.')
AVERAGE = flags.DEFINE_enum('average', None, AVERAGES, 'What is averaged over windows or test views; of a run as in '
                            'its evaluation unless given, else logits.')

_BAR = 27
_EIGHTHS = ' ▏▎▍▌▋▊▉'

Found = tuple[str, dict[str, Any], str]  # A file, what a machine reads of it (or its error), what a person reads.


def main(videos: list[str]) -> None:
    """The command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # A file may have any name.
    keep_compiled()
    run = _run(WEIGHTS.value)
    found = _by_run(run, videos) if run is not None else _by_published(videos)
    failed = 0
    for place, (video, values, text) in enumerate(found):
        if 'error' in values:
            failed += 1
        if JSON.value:
            print(json.dumps({'video': video, **values}), flush=True)
        if 'error' in values:
            if len(videos) == 1:
                raise UserError(values['error'])
            print(values['error'], file=sys.stderr)
        elif not JSON.value:
            print(('\n' if place else '') + text, flush=True)
    if failed:
        raise UserError(f'{failed} of {len(videos)} videos could not be read.')


def _run(weights: str) -> 'Experiment | None':
    """The run that was trained here; None of a published network, also of one that `vmmjax convert` wrote."""
    folder = Path(weights)
    if not is_run(folder):
        return None
    # Brings orbax and the pipeline along, which a published network need not wait for.
    from vmmjax.experiment import Experiment
    from vmmjax.training.saved_run import SavedRun

    saved = SavedRun.open(folder)
    if saved.is_converted:
        return None
    experiment = Experiment.of(saved)
    if AVERAGE.value is not None:
        experiment.average = AVERAGE.value
    if CLASSES.value:
        names = read_classes(Path(CLASSES.value))
        _check_count(names, experiment.task.num_classes, weights)
        experiment.task = replace(experiment.task, facts={**experiment.task.facts, 'classes': names})
    return experiment


def _by_run(run: 'Experiment', videos: Sequence[str]) -> Iterator[Found]:
    for video, each in zip(videos, run.predict(videos, most=TOP.value, progress=True), strict=True):
        values = {key: value for key, value in each.to_json().items() if key != 'clip'}
        absent = [stream for stream, there in each.present.items() if not there]
        blocks = [] if each.error else [
            ('' if len(each.reading) == 1 else f'  {reading["target"]}\n') + table(reading['named'])
            for reading in each.reading]
        without = f', without {" and ".join(absent)}' if absent else ''
        yield video, values, '\n'.join([f'{video} ({each.seconds:.1f} s{without})', *blocks])


def _by_published(videos: Sequence[str]) -> Iterator[Found]:
    predictor, names = _published(WEIGHTS.value)
    for video in videos:
        try:
            found = predictor(video, progress=True)
        except UserError as error:
            yield video, {'error': str(error)}, ''
            continue
        top = found.top(TOP.value)
        yield video, as_json(found, names, TOP.value), '\n'.join([
            f'{video} ({found.seconds:.1f} s)',
            table([(names[index], float(found.probabilities[index])) for index in top])])


def as_json(prediction: Prediction, names: Sequence[str], count: int) -> dict[str, Any]:
    """What is printed of a video for machines."""
    top = [{'class': names[index], 'index': index, 'probability': float(prediction.probabilities[index])}
           for index in prediction.top(count)]
    return {'seconds': prediction.seconds, 'windows': prediction.windows, 'top': top}


def table(named: Sequence[tuple[str, float | None]]) -> str:
    """What is printed for people: a line a class, with a bar; of a number the number alone."""
    rows = []
    for name, probability in named:
        if probability is None:
            rows.append([f'  {name}', '', ''])
            continue
        whole, part = divmod(round(8 * _BAR * probability), 8)
        rows.append([f'  {name}', f'{probability:.4f}', f'{"█" * whole}{_EIGHTHS[part]}'])
    return '\n'.join(aligned(rows))


def _published(weights: str) -> tuple[Predictor, list[str]]:
    """The network, and the names of its classes."""
    loaded = convert.load(weights)
    names = loaded.classes
    predictor = Predictor(loaded.model, loaded.variables, average=AVERAGE.value or 'logits')
    count = predictor.classes
    if CLASSES.value:
        names = read_classes(Path(CLASSES.value))
    elif names is None and count in KINETICS:
        names = kinetics_classes(count)
    if names is None:
        raise UserError(f'{weights} tells {count} classes apart, but not their names; name a text file with a class a '
                        f'line: --classes=FILE.')
    _check_count(names, count, weights)
    return predictor, names


def _check_count(names: Sequence[str], count: Any, weights: str) -> None:
    if len(names) != count:
        raise UserError(f'{CLASSES.value} names {len(names)} classes, and {weights} tells {count} apart.')
