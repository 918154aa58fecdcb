r"""Motion of the embedded data set from a tenth of the labels, with what the other clips add without theirs (FixMatch).

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio \
      --short_side=56 --fps=12.5
  vmmjax train --config=experiments/configs/motion_few.py --workdir=runs/few
  vmmjax train --config=experiments/configs/motion_few.py:supervised --workdir=runs/few_supervised

`--config.task.weight=0.0` is the control in which nothing else differs. `supervised` is as many steps on the same
labels alone, with 32 of them a batch instead of about 3, all strongly changed.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty, or `supervised` for the labels alone."""
    supervised = 'supervised' in configs.choices(arg, ('supervised',), 'motion_few.py')
    config = configs.defaults()
    config.steps, config.batch_size = 600, 32
    config.log_every, config.evaluate_every, config.checkpoint_every = 20, 200, 100
    config.optimizer.lr.peak = 3e-3
    config.ema_decay = 0.99
    config.data.store, config.data.target, config.data.labels_share = 'stores/motion_sound', 'motion', 0.1
    config.data.streams = dict(rgb=dict(modality='rgb', frames=8, sampling='dense', size=48))
    config.data.augment.color, config.data.augment.erase = 0.4, 1.0
    config.model.preprocess = dict(rgb='signed')
    config.model.encoders = dict(rgb=dict(name='i3d', width_multiplier=0.125, bn_momentum=0.9))
    if not supervised:
        config.task = dict(name='semi_supervised', threshold=0.95, weight=1.0)
        config.data.streams.rgb.views = 2
        config.data.augment.strong = ('color', 'erase')
    return configs.lock(config)
