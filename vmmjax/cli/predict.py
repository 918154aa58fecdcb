r"""Predicts what is in video and sound files, by a published network or a run of your own.

  vmmjax predict holiday.mp4
  vmmjax predict clips --top=3                                           # every video and sound file below a folder
  vmmjax predict 'clips/**/*.mp4' --json > seen.jsonl
  vmmjax predict clip.mp4 --weights=runs/mine
  vmmjax predict match.mkv --weights=runs/mine --timeline --stride=0.5   # window after window, with their times
  find . -name '*.wav' | vmmjax predict - --weights=runs/mine --csv > heard.csv
  vmmjax predict clip.mp4 --weights=resnet50.pth --classes=imagenet_classes.txt

The network is the I3D of Kinetics-400 unless --weights names another: a published file of I3D, TSM, TSN or an image
network, or a folder that `vmmjax train` made. I3D sees windows of 64 frames at 25 per second, one after another, and
their scores are averaged; TSM and TSN see 8 frames spread over the video.

A run of `vmmjax train`, or a bundle of `vmmjax export`, reads every file as it read the clips of its evaluation, all of
its streams, in its own window and test views; its store is not needed. A stream that a file lacks, such as sound, is
absent, and that is said. Parts of files, and texts for runs that read them, are given by a list.csv with the columns
path, and, where they are wanted, id, start, end (seconds) and those of the texts.

Of a run that writes texts the likeliest comes first, and below it its words with their confidence and, of a run with
CTC and no `config.task.context`, their times in seconds of the file.

With --timeline a run is asked about one window after another, each --stride seconds later; a run that looks at whole
clips is told by --window how long a window is. A run that finds events says at the end which there are in the file.

With --json every file, or window, is one JSON object on a line of its own, with its `error` if it could not be read;
with --csv it is a row of a table. A file that cannot be read costs only itself.
"""

import io
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags
from tqdm import tqdm

from vmmjax.errors import UserError
from vmmjax.evaluation import prediction_lines
from vmmjax.evaluation.prediction_lines import ClipPrediction
from vmmjax.pipeline.views import AVERAGES
from vmmjax.serving.classes import KINETICS, kinetics_classes, read_classes
from vmmjax.text_table import aligned

if TYPE_CHECKING:
    from vmmjax.experiment import Experiment
    from vmmjax.prepare.sources.clip import Clip
    from vmmjax.serving.predict import Prediction, Predictor

POSITIONAL = 'FILE...'
WEIGHTS = flags.DEFINE_string(
    'weights', 'i3d_rgb_kinetics400', 'A published file, a run, or the name of weights in docs/networks.md.')
BEST = flags.DEFINE_bool('best', False, 'Ask the best checkpoint of a run by config.best.metric, not the newest.')
TOP = flags.DEFINE_integer(
    'top', None, 'How many classes to name; 5 unless given, 1 in a line of --csv or --timeline.', lower_bound=1)
JSON = flags.DEFINE_boolean('json', False, 'Print a JSON object a line, and nothing else.')
CSV = flags.DEFINE_boolean('csv', False, 'Print a table with a line a target, and nothing else.')
CLASSES = flags.DEFINE_string('classes', '', 'Text file with the name of a class a line, if the weights have none.')
AVERAGE = flags.DEFINE_enum('average', None, AVERAGES, 'What is averaged over windows or test views; of a run as in '
                            'its evaluation unless given, else logits.')
TIMELINE = flags.DEFINE_boolean('timeline', False, 'A line for every window of a file; of a run.')
STRIDE = flags.DEFINE_float(
    'stride', None, 'Seconds from a window of --timeline to the next; those of a window unless given.',
    lower_bound=0.001)
WINDOW = flags.DEFINE_float(
    'window', None, 'Seconds of a window of --timeline, of a run that looks at whole clips.', lower_bound=0.01)

_BAR = 27
_EIGHTHS = ' ▏▎▍▌▋▊▉'


def main(arguments: list[str]) -> None:
    """The command."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='backslashreplace')  # A file may have any name.
    if JSON.value and CSV.value:
        raise UserError('--json and --csv exclude each other; leave one out.')
    if not TIMELINE.value and (STRIDE.value or WINDOW.value):
        raise UserError(f'--{"stride" if STRIDE.value else "window"} is for --timeline; add it.')
    from vmmjax.prepare.sources import listing
    from vmmjax.training.runtime import keep_compiled

    clips = listing.read(arguments, sys.stdin)
    keep_compiled()
    run = _run(WEIGHTS.value)
    out = _Output(len(clips))
    if run is None:
        _by_published(clips, out)
    elif TIMELINE.value:
        _timelines(run, clips, out)
    else:
        from vmmjax.evaluation import new_clips

        for told in new_clips.each(run, clips, most=TOP.value or (1 if CSV.value else 5), progress=True):
            out.add(told, _block(told))
    out.end()


class _Output:
    """What is printed, and of how many files there is nothing to print."""

    def __init__(self, count: int) -> None:
        self._count, self._failed, self._begun = count, 0, False
        if CSV.value:
            self._print(prediction_lines.header())

    def add(self, told: ClipPrediction, text: str, values: Mapping[str, Any] | None = None) -> None:
        """Prints what is said of a file or a window.

        Args:
          told: of it.
          text: for people.
          values: for programs, in place of those of `told`.
        """
        if JSON.value:
            self._print(prediction_lines.of_json(told, 'video') if values is None or told.error else
                        json.dumps({'video': told.clip, **values}) + '\n')
        elif CSV.value:
            self._print(prediction_lines.of_csv(told, TOP.value or 1))
        if told.error:
            self._failed += 1
            if self._count == 1:
                raise UserError(told.error)
            with tqdm.external_write_mode(sys.stderr):
                print(told.error, file=sys.stderr)
        else:
            self.say(text)

    def say(self, text: str) -> None:
        """Prints for people."""
        if not (JSON.value or CSV.value):
            self._print(text if self._begun else text.lstrip('\n'))
            self._begun = True

    def end(self) -> None:
        """Raises a UserError where files could not be read."""
        if self._failed:
            raise UserError(f'{self._failed} of {self._count} videos could not be read.')

    def _print(self, text: str) -> None:
        with tqdm.external_write_mode(sys.stdout):
            print(text, end='', flush=True)


def _run(weights: str) -> 'Experiment | None':
    """The run that was trained here; None of a published network, also of one that `vmmjax convert` wrote."""
    from vmmjax.convert.bundle import is_run

    folder = Path(weights)
    if not is_run(folder):
        return None
    # They bring Orbax and the pipeline along, which a published network need not wait for.
    from vmmjax.convert.saved_run import SavedRun
    from vmmjax.experiment import Experiment

    saved = SavedRun.open(folder, best=BEST.value)
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


def _block(told: ClipPrediction) -> str:
    """What a person reads of a file."""
    absent = prediction_lines.absent(told)
    without = f', without {" and ".join(absent)}' if absent else ''
    targets = [('' if len(told.reading) == 1 else f'  {each["target"]}\n') + (table(each['named']) or '  none')
               + words(each.get('words', ())) for each in told.reading]
    return '\n'.join([f'\n{told.clip} ({told.seconds:.1f} s{without})', *targets, ''])


def words(found: Sequence[Mapping[str, Any]]) -> str:
    """The words of a sentence, a line each, with their times in seconds where they are known, and their confidence."""
    times = [name for name in ('start', 'end') if any(word.get(name) is not None for word in found)]
    rows = [[f'    {word["word"]}', *('' if word[name] is None else f'{word[name]:.2f}' for name in times),
             '' if word['confidence'] is None else f'{word["confidence"]:.4f}'] for word in found]
    lines = aligned([['    word', *times, 'confidence'], *rows], '<>') if rows else []
    return ''.join(f'\n{line}' for line in lines)


def _timelines(run: 'Experiment', clips: Sequence['Clip'], out: _Output) -> None:
    from vmmjax.evaluation import new_clips
    from vmmjax.pipeline.windows import WindowSpec

    seconds = float(run.config.data.window.seconds)
    if seconds and WINDOW.value:
        raise UserError(f'The run looks at windows of {seconds:g} s, and a timeline has the same; leave --window out.')
    seconds = seconds or WINDOW.value or 0.0
    if not seconds:
        raise UserError('The run looks at whole clips; say how many seconds a window of the timeline has: --window=2.')
    cut = WindowSpec(seconds, STRIDE.value or 0.0)
    most = TOP.value or (5 if JSON.value else 1)
    for clip in clips:
        parts = []
        out.say(f'\n{clip.id}\n')
        try:
            for told in new_clips.windows(run, clip, cut, most=most, progress=True):
                out.add(told, prediction_lines.of_text(told))
                parts += [told] if run.task.each_view else []
        except UserError as error:
            out.add(ClipPrediction(clip.id, error=str(error)), '')
            continue
        if parts:
            whole = new_clips.whole(run, parts, cut)
            out.add(whole, 'In all:\n' + prediction_lines.of_text(whole))


def _by_published(clips: Sequence['Clip'], out: _Output) -> None:
    if TIMELINE.value:
        raise UserError('--timeline is for runs of `vmmjax train`; name one as --weights.')
    predictor, names = _published(WEIGHTS.value)
    for clip in clips:
        if clip.start or clip.end or clip.labels:
            raise UserError(f'A published network sees whole files, and a part or a text is given of {clip.name}; name '
                            f'the files alone, or a run as --weights.')
        try:
            found = predictor(clip.path, progress=True)
        except UserError as error:
            out.add(ClipPrediction(clip.id, error=str(error)), '')
            continue
        most = TOP.value or 5
        named = [[names[index], float(found.probabilities[index])] for index in found.top(most)]
        told = ClipPrediction(clip.id, seconds=found.seconds, present={'rgb': True},
                              reading=[{'target': 'class', 'named': named}])
        out.add(told, _block(told), as_json(found, names, most))


def as_json(prediction: 'Prediction', names: Sequence[str], count: int) -> dict[str, Any]:
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


def _published(weights: str) -> tuple['Predictor', list[str]]:
    """The network, and the names of its classes."""
    from vmmjax import convert
    from vmmjax.serving.predict import Predictor

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
