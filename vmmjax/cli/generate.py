r"""Writes the video that a run makes: of a file, or of nothing but a class.

  vmmjax generate noisy.mp4 --weights=runs/denoising --output=clean.mp4
  vmmjax generate slow.mp4 --weights=runs/interpolation --output=smooth.mp4 --short_side=240

A run of the task video_to_video makes of a file the same pictures without noise, or one more between each two, at twice
the rate. Whole pictures are made, in the size of the file or of --short_side, one after another, so that memory does
not grow with the file; the sound is left out.

  vmmjax generate --weights=runs/adversary --output=drawn.mp4 --count=64 --classes=left,up
  vmmjax generate --weights=runs/adversary --output=drawn.npy --count=2048
  vmmjax generate --weights=runs/adversary --output=real.npy --count=2048 --real=test
  vmmjax fvd real.npy drawn.npy

A run of the task adversarial draws clips: into one video side by side (.mp4), an array (.npy) as `vmmjax fvd` reads it,
or a folder with a video each. With --real the real clips of a split are written in their place, as the run sees them.
"""

import math
from pathlib import Path

from absl import flags

from vmmjax.errors import UserError

POSITIONAL = '[VIDEO]'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of a run that `vmmjax train` made, or a bundle.', required=True)
OUTPUT = flags.DEFINE_string('output', None, 'What to write: made.mp4; of drawn clips also clips.npy, or a folder.',
                             required=True)
BEST = flags.DEFINE_bool('best', False, 'Take the best checkpoint by config.best.metric, not the newest.')
SHORT_SIDE = flags.DEFINE_integer(
    'short_side', None, "Pixels of a picture's short side; those of the file unless given.", lower_bound=16)
QUANTISER = flags.DEFINE_integer('quantiser', 18, 'Of H.264: 0 loses nothing, 51 nearly all.', 0, 51)
COUNT = flags.DEFINE_integer('count', 16, 'Clips to draw.', lower_bound=1)
CLASSES = flags.DEFINE_list('classes', [], 'Of which clips are drawn, one after another; all unless given.')
SEED = flags.DEFINE_integer('seed', 0, 'Of what clips are drawn from.', lower_bound=0)
REAL = flags.DEFINE_string('real', '', 'Split of which the real clips are written instead.')


def main(paths: list[str]) -> None:
    """The command."""
    if len(paths) > 1:
        raise UserError(f'`vmmjax generate` takes one VIDEO, not {len(paths)}.')
    from vmmjax.media.writer import check_output, even, write_clip

    output = Path(OUTPUT.value)
    if paths:
        check_output(output, Path(paths[0]))
    if output.suffix not in ('.mp4', '.npy', ''):
        raise UserError(f'--output is {output}; clips are written as .mp4, as .npy, or into a folder.')
    if not output.suffix and output.exists():
        raise UserError(f'{output} is there already; name another folder, or remove it.')
    if not output.absolute().parent.is_dir():
        raise UserError(f'--output is {output}, and there is no folder {output.parent}; make it first.')
    from vmmjax.experiment import Experiment
    from vmmjax.serving import drawn_clips, made_video
    from vmmjax.training.runtime import keep_compiled

    keep_compiled()
    run = Experiment.load(WEIGHTS.value, best=BEST.value)
    if paths:
        made = made_video.of_file(run, Path(paths[0]), short_side=SHORT_SIDE.value)
        write_clip(output, map(even, made.pictures), fps=made.fps, quantiser=QUANTISER.value,
                   group=drawn_clips.GROUP)
        print(f'Wrote {output}, {made.fps:g} pictures a second.')
        return
    if REAL.value:
        clips, names = drawn_clips.real(run, REAL.value, COUNT.value)
    else:
        clips, names = drawn_clips.draw(run, COUNT.value, classes=CLASSES.value, seed=SEED.value)
    # A column a class where each is drawn in turn.
    drawn = CLASSES.value or sorted(set(names))
    side = len(drawn) if 1 < len(drawn) <= 16 and not REAL.value else math.ceil(math.sqrt(len(clips)))
    drawn_clips.write(output, clips, names, fps=drawn_clips.rate(run), side=side, quantiser=QUANTISER.value)
    print(f'Wrote {len(clips)} clips of {clips.shape[1]} frames to {output}.')
