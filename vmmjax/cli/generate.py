r"""Writes the video that a run makes of a file.

  vmmjax generate noisy.mp4 --weights=runs/denoising --output=clean.mp4
  vmmjax generate slow.mp4 --weights=runs/interpolation --output=smooth.mp4 --short_side=240

A run of the task video_to_video makes of a file the same pictures without noise, or one more between each two, at twice
the rate. Whole pictures are made, in the size of the file or of --short_side, one after another, so that memory does
not grow with the file; the sound is left out.
"""

from pathlib import Path

import numpy as np
from absl import flags

from vmmjax.errors import UserError
from vmmjax.experiment import Experiment
from vmmjax.media.writer import write_clip
from vmmjax.serving import made_video
from vmmjax.training.runtime import keep_compiled

POSITIONAL = 'VIDEO'
WEIGHTS = flags.DEFINE_string('weights', None, 'Folder of a run that `vmmjax train` made, or a bundle.', required=True)
OUTPUT = flags.DEFINE_string('output', None, 'File to write, such as made.mp4.', required=True)
BEST = flags.DEFINE_bool('best', False, 'Take the best checkpoint by config.best.metric, not the newest.')
SHORT_SIDE = flags.DEFINE_integer(
    'short_side', None, "Pixels of a picture's short side; those of the file unless given.", lower_bound=16)
QUANTISER = flags.DEFINE_integer('quantiser', 18, 'Of H.264: 0 loses nothing, 51 nearly all.', 0, 51)

_GROUP = 25  # Pictures of which all but the first are coded by what they differ in.


def main(paths: list[str]) -> None:
    """The command."""
    if len(paths) != 1:
        raise UserError(f'`vmmjax generate` takes one VIDEO, not {len(paths)}.')
    output = Path(OUTPUT.value)
    if output.suffix != '.mp4':
        raise UserError(f'--output is {output}; a video is written as .mp4.')
    keep_compiled()
    run = Experiment.load(WEIGHTS.value, best=BEST.value)
    made = made_video.of_file(run, Path(paths[0]), short_side=SHORT_SIDE.value)
    write_clip(output, map(_even, made.pictures), fps=made.fps, quantiser=QUANTISER.value, group=_GROUP)
    print(f'Wrote {output}, {made.fps:g} pictures a second.')


def _even(picture: np.ndarray) -> np.ndarray:
    """The picture with its last row and column twice where H.264 needs one more."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode='edge')
