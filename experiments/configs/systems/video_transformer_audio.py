r"""A video transformer on tubelets and a network on log-mels, through attention bottlenecks: the command of GRID.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/systems/video_transformer_audio.py --workdir=runs/mbt --config.data.fold=0

The streams look at each other through a few tokens only (Nagrani et al. 2021). `video_transformer_audio.py:full` is the
full-size variant: ViViT (ViT-B with 4 temporal layers) on 32 x 224 x 224 of a store with a --short_side of 256, and the
Audio Spectrogram Transformer on the sound.

Expected accuracy of the command, two folds: 100 %; its sound alone has 99, its pictures 42, the most frequent one 28.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'video_transformer_audio.py')
    config = common.small(1200, 400)
    common.command(config)
    config.data.streams = dict(rgb=common.mouth(16), audio=dict(modality='audio'))
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
        common.full(config, peak=1e-4)
        config.data.streams.rgb.update(common.WHOLE)
        config.model.encoders = dict(rgb=dict(name='vivit', remat=True), audio=dict(name='ast', remat=True))
        config.model.fusion.update(dict(features=768, num_attention_heads=12))
    return configs.lock(config)
