"""Motion and tone of the embedded data set, from pictures and sound.

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio
  vmmjax train --config=experiments/configs/motion_sound.py --workdir=runs/motion_sound

Arguments, as in `motion_sound.py:single_frame`, train the two controls on pictures alone:
  single_frame: one frame a clip, which tells nothing;
  shuffled: all frames in a random order, which tells the axis but not the direction.
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
    config.steps, config.batch_size = 320, 32
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
        config.steps = 240
        config.data.dropout = {}
        for part in (config.data.streams, config.model.preprocess, config.model.encoders):
            del part.audio
        if arg == 'single_frame':
            config.data.streams.rgb.frames = 1
        else:
            config.data.streams.rgb.sampling = 'shuffled'
    return configs.lock(config)
