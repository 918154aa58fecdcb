r"""Pictures of the embedded data set made of pictures: the frames between frames, or clips without noise.

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio \
      --short_side=56 --fps=12.5
  vmmjax train --config=experiments/configs/motion_video.py --workdir=runs/interpolation
  vmmjax train --config=experiments/configs/motion_video.py:denoising --workdir=runs/denoising
  vmmjax evaluate --workdir=runs/denoising
  vmmjax generate clip.mp4 --weights=runs/denoising --output=clean.mp4

Measured is the peak signal-to-noise ratio beside the mean of the neighbours, or beside the linear 3 x 3 x 3 filter that
is best for the clips that are measured (sigma is 25 of 255); see docs/pretraining.md.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty for interpolation, or `denoising`."""
    denoising = 'denoising' in configs.choices(arg, ('denoising',), 'motion_video.py')
    config = configs.defaults()
    config.steps, config.batch_size = 300, 8
    config.log_every, config.evaluate_every, config.checkpoint_every = 20, 0, 100
    config.optimizer.lr.peak = 2e-3
    config.task = dict(name='video_to_video', kind='denoising' if denoising else 'interpolation', sigma=25.0)
    config.data.store = 'stores/motion_sound'
    config.data.window.seconds = 0.72
    config.data.streams = dict(rgb=dict(modality='rgb', frames=9, sampling='dense', size=48))
    config.model.preprocess = dict(rgb='signed')
    config.model.encoders = dict(rgb=dict(name='residual_video', features=32, depth=4))
    return configs.lock(config)
