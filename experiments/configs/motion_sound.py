r"""Motion and tone of the embedded data set, from pictures and sound.

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio \
      --short_side=56 --fps=12.5
  vmmjax train --config=experiments/configs/motion_sound.py --workdir=runs/motion_sound

Cost: 2 minutes on 2 cores. Expected on the test split (seed 0): with both streams 99 %, pictures alone motion 99 %
and tone 50 %, sound alone tone 100 % and motion 25 %.

Two controls train on pictures alone and begin with the parameters of the run above:

  vmmjax train --config=experiments/configs/motion_sound.py:shuffled --workdir=runs/shuffled \
      --config.init_from.workdir=runs/motion_sound

  single_frame: one frame a clip, which tells nothing;
  shuffled: all frames in a random order, which tells the axis but not the direction. (From scratch the network finds
    nothing in shuffled frames: 800 steps ended at chance.)
"""

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean

CONTROLS = ('single_frame', 'shuffled')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or one of the controls."""
    if arg and arg not in CONTROLS:
        raise UserError(f'motion_sound.py has no argument {arg!r}: {did_you_mean(arg, CONTROLS)}.')
    config = configs.defaults()
    config.steps, config.batch_size = 480, 32
    config.log_every, config.evaluate_every, config.checkpoint_every = 20, 160, 80
    config.optimizer.lr.peak = 3e-3
    config.data.store = 'stores/motion_sound'
    config.data.parts = ('motion', 'axis', 'tone')
    config.data.streams = dict(
        rgb=dict(modality='rgb', frames=8, sampling='dense', size=48),
        audio=dict(modality='audio'))
    config.data.augment.color = 0.2
    config.data.dropout = dict(rgb=0.3, audio=0.3)
    config.model.preprocess = dict(rgb='signed', audio='none')
    config.model.encoders = dict(
        rgb=dict(name='i3d', width_multiplier=0.125, bn_momentum=0.9),
        audio=dict(name='conv2d_audio', widths=(8, 16, 32, 64), bn_momentum=0.9))
    if arg:
        config.steps = 160
        config.init_from.skip = ('head',)
        config.data.dropout = {}
        for part in (config.data.streams, config.model.preprocess, config.model.encoders):
            del part.audio
        if arg == 'single_frame':
            config.data.streams.rgb.frames = 1
        else:
            config.data.streams.rgb.sampling = 'shuffled'
    return configs.lock(config)
