r"""Says what is seen in videos: the most probable classes of each, over its whole length.

  vmmjax predict holiday.mp4
  vmmjax predict clips/*.mp4 --top=3
  vmmjax predict clips/*.mp4 --json > seen.jsonl
  vmmjax predict clip.mp4 --weights=runs/mine
  vmmjax predict clip.mp4 --weights=resnet50.pth --classes=imagenet_classes.txt

The network is the I3D of Kinetics-400 unless --weights names another: a published file of I3D, TSM, TSN or an image
network, or a folder that `vmmjax train` made from pictures alone. I3D sees windows of 64 pictures at 25 a second, one
after another, and their scores are averaged; TSM and TSN see 8 pictures spread over the video. With --json every video
is one JSON object on a line of its own, with its `error` if it could not be read.
"""

import io
import json
import sys
from pathlib import Path

from absl import flags

from vmmjax import convert
from vmmjax.errors import UserError
from vmmjax.pipeline.views import AVERAGES
from vmmjax.serving.classes import KINETICS, kinetics_classes, read_classes
from vmmjax.serving.predict import Prediction, Predictor, View
from vmmjax.text_table import aligned
from vmmjax.training.runtime import keep_compiled

POSITIONAL = 'VIDEO...'
WEIGHTS = flags.DEFINE_string(
    'weights', 'i3d_rgb_kinetics400', 'What load_pretrained takes: a published file, a run, or i3d_rgb_kinetics400.')
TOP = flags.DEFINE_integer('top', 5, 'How many classes to name.', lower_bound=1)
JSON = flags.DEFINE_boolean('json', False, 'Print a JSON object a line, and nothing else.')
CLASSES = flags.DEFINE_string('classes', '', 'Text file with the name of a class a line, if the weights have none.')
AVERAGE = flags.DEFINE_enum('average', 'logits', AVERAGES, 'What is averaged over windows.')

_BAR = 27
_EIGHTHS = ' ▏▎▍▌▋▊▉'


def main(videos: list[str]) -> None:
    """The command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # A file may have any name.
    keep_compiled()
    predictor, names = _load(WEIGHTS.value)
    failed = 0
    for place, video in enumerate(videos):
        try:
            prediction = predictor(video, progress=True)
        except UserError as error:
            failed += 1
            if JSON.value:
                print(json.dumps({'video': video, 'error': str(error)}), flush=True)
            if len(videos) == 1:
                raise
            print(error, file=sys.stderr)
            continue
        if JSON.value:
            print(json.dumps(as_json(video, prediction, names, TOP.value)), flush=True)
        else:
            print(('\n' if place else '') + table(video, prediction, names, TOP.value), flush=True)
    if failed:
        raise UserError(f'{failed} of {len(videos)} videos could not be read.')


def as_json(video: str, prediction: Prediction, names: list[str], count: int) -> dict:
    """What is printed of a video for machines."""
    top = [{'class': names[index], 'index': index, 'probability': float(prediction.probabilities[index])}
           for index in prediction.top(count)]
    return {'video': video, 'seconds': prediction.seconds, 'windows': prediction.windows, 'top': top}


def table(video: str, prediction: Prediction, names: list[str], count: int) -> str:
    """What is printed of a video for people: a line a class, with a bar."""
    rows = []
    for index in prediction.top(count):
        probability = float(prediction.probabilities[index])
        whole, part = divmod(round(8 * _BAR * probability), 8)
        rows.append([f'  {names[index]}', f'{probability:.4f}', f'{"█" * whole}{_EIGHTHS[part]}'])
    return '\n'.join([f'{video} ({prediction.seconds:.1f} s)', *aligned(rows)])


def _load(weights: str) -> tuple[Predictor, list[str]]:
    """The network, and the names of its classes."""
    names: list[str] | None = None
    view: View | None = None
    model, variables = convert.load_pretrained(weights)
    if Path(weights).is_dir():
        # Brings orbax along, which takes longer to import than all the rest.
        from vmmjax.convert import own
        from vmmjax.serving import run_metadata
        if own.is_run(Path(weights)):
            names, view = run_metadata.read(Path(weights))
    predictor = Predictor(model, variables, view=view, average=AVERAGE.value)
    count = predictor.classes
    if CLASSES.value:
        names = read_classes(Path(CLASSES.value))
    elif names is None and count in KINETICS:
        names = kinetics_classes(count)
    if names is None:
        raise UserError(f'{weights} tells {count} classes apart, but not their names; name a text file with a class a '
                        f'line: --classes=FILE.')
    if len(names) != count:
        raise UserError(f'{CLASSES.value} names {len(names)} classes, and {weights} tells {count} apart.')
    return predictor, names
