"""Frame interpolation and denoising on the embedded data set, beside the strongest baselines without learning.

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio \
      --short_side=56 --fps=12.5
  vmmjax ablate --rows=experiments/ablations/video.py --workdir=runs/video --metric=gain \
      --page=experiments/results/video_to_video.md

The metric `gain` is in decibels of the peak signal-to-noise ratio: above the mean of the neighbouring frames, or above
the linear 3 x 3 x 3 filter that is best for the tested clips.
"""

QUESTION = 'By how many decibels are the frames better than those of the strongest baseline without learning?'
_CONFIG = 'experiments/configs/motion_video.py'
ROWS = {
    'interpolation': dict(config=_CONFIG),
    'denoising': dict(config=f'{_CONFIG}:denoising', against='denoising'),
}
