r"""Writes a summary of a long video: the parts that a run of the task `summarization` finds most important.

  vmmjax summarize match.mp4 --weights=runs/highlights --output=summary.mp4
  vmmjax summarize match.mp4 --weights=runs/highlights --output=summary.mp4 --share=0.05 --stride=1
  vmmjax summarize match.mp4 --weights=runs/highlights --json                      # the parts and all scores alone

The run looks at one window after another; the scores of its segments (`config.task.segment` seconds) are put together,
and those with the highest are taken until --share of the time is full. The parts stand in the summary in their order in
time, pictures and sound, encoded again. Memory does not grow with the length of the video.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from absl import flags

from vmmjax.errors import UserError
from vmmjax.text_table import aligned

if TYPE_CHECKING:
    from vmmjax.experiment import Experiment
    from vmmjax.tasks import Summarization

POSITIONAL = 'VIDEO'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of a run of the task summarization, or a bundle.', required=True)
OUTPUT = flags.DEFINE_string('output', '', 'MP4 file of the summary; nothing is written unless given.')
SHARE = flags.DEFINE_float('share', None, "Of the video's time; as trained unless given.", lower_bound=0.0,
                           upper_bound=1.0)
STRIDE = flags.DEFINE_float(
    'stride', None, 'Seconds from window to window; those of a window unless given.', lower_bound=0.001)
JSON = flags.DEFINE_boolean('json', False, 'Print one JSON object, and nothing else.')
SHORT_SIDE = flags.DEFINE_integer('short_side', None, 'Pixels of the summary; as in the video unless given.',
                                  lower_bound=16)


def main(arguments: list[str]) -> None:
    """The command."""
    if len(arguments) > 1:
        raise UserError(f'`vmmjax summarize` takes one video, not {len(arguments)}.')
    if not (OUTPUT.value or JSON.value):
        raise UserError('--output is missing: name an MP4 file for the summary, or print its parts with --json.')
    if OUTPUT.value:
        from vmmjax.media.writer import check_output

        check_output(Path(OUTPUT.value), Path(arguments[0]))
    from vmmjax.evaluation import new_clips
    from vmmjax.media import summary
    from vmmjax.pipeline.windows import WindowSpec
    from vmmjax.prepare.sources.clip import of_file
    from vmmjax.serving.network_inputs import of_run
    from vmmjax.training.runtime import keep_compiled

    keep_compiled()
    _, run = of_run(Path(WEIGHTS.value))
    task = _checked(run)
    if SHARE.value is not None:
        run.task = replace(task, share=SHARE.value)
    seconds = float(run.config.data.window.seconds)
    clip = of_file(arguments[0])
    cut = WindowSpec(seconds, STRIDE.value or 0.0)
    found = new_clips.whole(run, list(new_clips.windows(run, clip, cut, most=1, progress=True)), cut)
    told: dict[str, Any] = dict(found.reading[0])
    parts = [(part['start'], part['end']) for part in told['segments']]
    if OUTPUT.value:
        summary.write(Path(OUTPUT.value), clip.path, parts, short_side=SHORT_SIDE.value)
    if JSON.value:
        print(json.dumps({'video': found.clip, 'seconds': round(found.seconds, 3), 'parts': told['segments'],
                          'scores': told['scores']}))
        return
    print('\n'.join(aligned([['start', 'end', 'score'], *(
        [f'{part["start"]:.2f}', f'{part["end"]:.2f}', f'{part["score"]:.3f}'] for part in told['segments'])], '>')))
    total = sum(end - start for start, end in parts)
    print(f'Wrote {OUTPUT.value}: {total:.1f} of {found.seconds:.1f} s.')


def _checked(run: 'Experiment') -> 'Summarization':
    """The run's task."""
    from vmmjax.tasks import Summarization

    if not isinstance(run.task, Summarization):
        raise UserError(f'{WEIGHTS.value} is a run of the task {run.task.name}; take one of summarization.')
    if not run.config.data.window.seconds:
        raise UserError(f'{WEIGHTS.value} looks at whole clips, so that it has no scores over time; train it with '
                        f'data.window.seconds.')
    return run.task
