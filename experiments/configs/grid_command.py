"""The first word of a GRID sentence (bin, lay, place, set), from the lips and the sound.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/grid_command.py --workdir=runs/grid_command

`grid_command.py:rgb` and `grid_command.py:audio` train one stream alone.

Cost on 2 cores: both 8 minutes, rgb 4, audio 1. Measured, talker s1, 500 training sentences, seed 0, accuracy on the
100 clips of the test split: pictures alone 88 %, sound alone 100 %, both 100 %; the model of both 89 % where the sound
is withheld and 100 % where the pictures are. A linear probe had 51 % from pictures and 78 % from sound; always naming
the most frequent word gets 28 %. See experiments/results/first_light.md.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean

STREAMS = ('audio', 'rgb')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty for both streams, or one of them."""
    if arg and arg not in STREAMS:
        raise UserError(f'grid_command.py has no argument {arg!r}: {did_you_mean(arg, STREAMS)}.')
    config = configs.defaults()
    # With both streams a third of the rows lack one or the other, so each sees fewer clips a step.
    config.steps, config.batch_size = 600 if arg else 900, 20
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 100, 100
    config.optimizer.lr.peak = 1e-3
    config.optimizer.options.weight_decay = 1e-2
    config.task.label_smoothing = 0.05
    config.data.store = 'stores/grid'
    config.data.target = 'command'
    # The command begins 0.2 to 0.9 s into the clip and is about a quarter of a second long.
    config.data.window.seconds = 1.28
    config.data.window.start = (0.0, 0.2)
    config.data.streams = dict(
        # The mouth, wherever the head is.
        rgb=dict(modality='rgb', frames=32, size=48, region=(0.54, 0.32, 0.86, 0.70)),
        audio=dict(modality='audio'))
    # From 500 clips the network does not learn where the lips are: crops that wander kept it at chance.
    config.data.augment.update(dict(crop='centre', color=0.1))
    # Sound is learned ten times faster; where it is always there, the pictures learn nothing.
    config.data.dropout = dict(rgb=0.2, audio=0.5)
    config.model.preprocess = dict(rgb='signed', audio='none')
    config.model.encoders = dict(
        rgb=dict(name='i3d', width_multiplier=0.125, bn_momentum=0.95),
        audio=dict(name='conv2d_audio', bn_momentum=0.95))
    config.model.head.dropout = 0.3
    for stream in STREAMS if arg else ():
        if stream != arg:
            for part in (config.data.streams, config.data.dropout, config.model.preprocess, config.model.encoders):
                del part[stream]
    return configs.lock(config)
