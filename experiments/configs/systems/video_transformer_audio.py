r"""A video transformer on tubelets and a network on log-mels, through attention bottlenecks: the command of GRID.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/systems/video_transformer_audio.py --workdir=runs/mbt --config.data.fold=0

The streams look at each other through a few tokens only (Nagrani et al. 2021). `video_transformer_audio.py:full` is the
full-size variant: ViViT (ViT-B with 4 temporal layers) on 32 x 224 x 224 of a store with a --short_side of 256, and the
Audio Spectrogram Transformer on the sound.

Expected accuracy of the command, two folds: 100 %; its sound alone has 99, its pictures 42, the most frequent one 28.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs

ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'video_transformer_audio.py')
    config = configs.defaults()
    config.steps, config.batch_size = 1200, 16
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 400, 400
    config.optimizer.options.weight_decay = 1e-2
    config.task.label_smoothing = 0.05
    config.data.store, config.data.target = 'stores/grid', 'command'
    # The command begins 0.2 to 0.9 s into the clip; the mouth, wherever the head is.
    config.data.window.seconds, config.data.window.start = 1.28, (0.0, 0.2)
    config.data.streams = dict(
        rgb=dict(modality='rgb', frames=16, size=40, region=(0.56, 0.35, 0.86, 0.65)), audio=dict(modality='audio'))
    config.data.fold_validates = False
    # Sound is learned ten times faster; where it is always there, the pictures learn nothing.
    config.data.dropout = dict(rgb=0.1, audio=0.6)
    config.model.preprocess = dict(rgb='centred', audio='none')
    config.model.encoders = dict(
        rgb=dict(name='vivit', tubelet=(2, 40, 40), hidden_size=96, num_hidden_layers=2, temporal_layers=2,
                 num_attention_heads=4, intermediate_size=192),
        audio=dict(name='conv2d_audio', bn_momentum=0.95))
    config.model.fusion = dict(name='bottleneck', features=96, num_bottlenecks=4)
    config.model.head.dropout = 0.2
    if full:
        config.steps, config.batch_size = 20_000, 64
        config.optimizer.lr.peak, config.optimizer.lr.warmup_steps = 1e-4, 1000
        config.evaluate_every = config.checkpoint_every = 1000
        config.data.streams.rgb.update(dict(size=224, region=(0.0, 0.0, 1.0, 1.0)))
        config.model.encoders = dict(rgb=dict(name='vivit', remat=True), audio=dict(name='ast', remat=True))
        config.model.fusion.update(dict(features=768, num_attention_heads=12))
    return configs.lock(config)
