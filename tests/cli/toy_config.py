"""A small run on motion_sound with the encoders of tests/cli/toy.py."""

from vmmjax import config as configs


def get_config():
    config = configs.defaults()
    config.steps, config.batch_size = 30, 8
    config.log_every, config.evaluate_every, config.checkpoint_every = 1, 10, 3
    config.optimizer.lr.warmup_steps = 2
    config.data.parts = ('motion', 'axis', 'tone')
    config.data.streams = dict(rgb=dict(modality='rgb', frames=4, size=24), audio=dict(modality='audio'))
    config.data.augment.color = 0.2
    config.data.dropout = dict(rgb=0.3, audio=0.3)
    config.model.preprocess = dict(rgb='signed', audio='none')
    config.model.encoders = dict(rgb=dict(name='tests.cli.toy:Average'), audio=dict(name='tests.cli.toy:Average'))
    return configs.lock(config)
