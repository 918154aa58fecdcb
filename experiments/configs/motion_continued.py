r"""Four classes of the embedded data set, then four more: a run that goes on with clips of further classes.

The embedded set has 4 motions x 2 tones. `experiments/continued.py` writes the two manifests (rising and falling tones)
and makes the whole comparison; by hand:

  vmmjax prepare --source=rising.csv --store=stores/rising --columns=rgb,audio --short_side=36 --fps=12.5
  vmmjax prepare --source=falling.csv --store=stores/falling --columns=rgb,audio --short_side=36 --fps=12.5
  vmmjax train --config=experiments/configs/motion_continued.py --workdir=runs/rising
  vmmjax train --config=experiments/configs/motion_continued.py:next --workdir=runs/both \
      --config.data.replay="(('stores/rising', .2),)"

`next` goes on from runs/rising, whose classes keep their outputs. Cost: half a minute each on 2 cores.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty, or `next` for the four classes that come later."""
    later = 'next' in configs.choices(arg, ('next',), 'motion_continued.py')
    config = configs.defaults()
    config.steps, config.batch_size = 80 if later else 140, 32
    config.log_every, config.evaluate_every, config.checkpoint_every = 20, 0, 100
    config.data.store = 'stores/falling' if later else 'stores/rising'
    config.data.streams = dict(rgb=dict(modality='rgb', frames=8, sampling='dense', size=32),
                               audio=dict(modality='audio'))
    config.optimizer.lr.peak, config.optimizer.lr.warmup_steps = 2e-3, 20
    config.data.augment.color = 0.2
    config.model.preprocess = dict(rgb='centred', audio='none')
    config.model.encoders = dict(rgb=dict(name='strided_video', widths=(16, 32, 64, 96)),
                                 audio=dict(name='conv2d_audio', widths=(8, 16, 32), bn_momentum=0.9))
    if later:
        config.init_from.workdir, config.init_from.classes = 'runs/rising', True
    return configs.lock(config)
