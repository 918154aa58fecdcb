r"""Mouths and sound through a short code and back.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/grid_autoencoder.py --workdir=runs/autoencoder --config.data.fold=0

Each stream has a code of 64 numbers; `grid_autoencoder.py:joint` makes both from one. Evaluation gives the error, and
what share of the variance about each clip's mean is explained.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty, or `joint` for one code of both streams."""
    joint = 'joint' in configs.choices(arg, ('joint',), 'grid_autoencoder.py')
    config = configs.defaults()
    config.steps, config.batch_size = 2000, 32
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 500, 250
    config.task = dict(name='autoencoder', streams=dict(rgb=(2, 12, 12), audio=(1, 16, 16)), code=64, joint=joint,
                       decoder=dict(hidden_size=128, num_hidden_layers=2))
    config.data.store = 'stores/grid'
    config.data.window.seconds, config.data.window.start = 1.28, (0.0, 1.6)
    config.data.streams = dict(rgb=dict(modality='rgb', frames=16, size=48, region=(0.54, 0.32, 0.86, 0.70)),
                               audio=dict(modality='audio'))
    config.data.augment.crop = 'centre'
    config.model.preprocess = dict(rgb='signed', audio='none')
    config.model.encoders = dict(rgb=dict(name='tdnn', pool=2, dropout=0.0),
                                 audio=dict(name='conv2d_audio', bn_momentum=0.95))
    return configs.lock(config)
