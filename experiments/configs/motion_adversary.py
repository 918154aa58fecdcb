r"""Short clips of the embedded data set, drawn of a motion each, against a network that tells them from real ones.

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_small --columns=rgb --short_side=36 --fps=12.5
  vmmjax train --config=experiments/configs/motion_adversary.py --workdir=runs/adversary
  vmmjax evaluate --workdir=runs/adversary
  vmmjax generate --weights=runs/adversary --output=drawn.mp4 --count=32

Clips are of 10 frames of 32 x 32. The steps are those for an accelerator.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; it takes no argument."""
    configs.choices(arg, (), 'motion_adversary.py')
    config = configs.defaults()
    config.steps, config.batch_size = 20000, 64
    config.log_every, config.evaluate_every, config.checkpoint_every = 50, 1000, 500
    config.optimizer.options = dict(b1=0.0, b2=0.99, weight_decay=0.0)
    config.optimizer.clip = 0.0
    config.optimizer.lr = dict(peak=5e-4, warmup_steps=0, schedule='constant', milestones=(), factor=0.1)
    config.task = dict(name='adversarial', latent=64, penalty=1.0)
    config.players = dict(generator=dict(params=('^task/',), ema_decay=0.998),
                          discriminator=dict(params=('^(?!task/)',)))
    config.data.store, config.data.target = 'stores/motion_small', 'motion'
    config.data.window.seconds = 0.8
    config.data.streams = dict(rgb=dict(modality='rgb', frames=10, sampling='dense', size=32))
    config.model.preprocess = dict(rgb='none')
    config.model.encoders = dict(rgb=dict(name='strided_video'))
    return configs.lock(config)
