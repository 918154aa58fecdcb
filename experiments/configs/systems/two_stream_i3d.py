r"""Two-stream I3D (Carreira and Zisserman 2017): pictures and motion, the sum of their logits; fights from calm scenes.

  vmmjax prepare --source=fights/manifest.csv --store=stores/fights --columns=rgb,flow,audio --short_side=64
  vmmjax train --config=experiments/configs/systems/two_stream_i3d.py --workdir=runs/two_stream --config.data.fold=0

`two_stream_i3d.py:full` is the full-size variant: 64 frames of 224 x 224, of a store with a --short_side of 256 and
--flow=tv_l1_jax.

Expected accuracy, two folds: 82 %; pictures alone have 80, motion 75, the most frequent class 60.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'two_stream_i3d.py')
    config = common.small(250, 125)
    config.data.store, config.data.target = 'stores/fights', 'event'
    config.data.window.seconds = 2.0
    config.data.streams = dict(rgb=dict(modality='rgb', frames=16, size=56),
                               flow=dict(modality='flow', frames=16, size=56))
    config.data.augment.update(dict(color=0.1, flip=0.5))
    config.model.preprocess = dict(rgb='centred', flow='flow')
    network = dict(name='i3d', width_multiplier=0.125, bn_momentum=0.95)
    config.model.encoders = dict(rgb=network, flow=network)
    # Where both are always there, the better one leaves the other nothing to learn.
    config.data.dropout = dict(rgb=0.3, flow=0.3)
    config.model.fusion = dict(name='scores', combine='sum')
    if full:
        common.full(config)
        config.data.window.seconds = 2.56
        config.model.preprocess.rgb = 'signed'  # As published.
        for stream in config.data.streams.values():
            stream.update(dict(frames=64, size=224))
        network = dict(name='i3d', remat=True)
        config.model.encoders = dict(rgb=network, flow=network)
    return configs.lock(config)
