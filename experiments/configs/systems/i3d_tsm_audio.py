r"""I3D on pictures, TSM on motion and a network on sound, by attention or bottlenecks: a word of a GRID sentence.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,flow,audio,waveform --short_side=160
  vmmjax train --config=experiments/configs/systems/i3d_tsm_audio.py --workdir=runs/three --config.data.fold=0

The streams look at each other (`cross_attention`), with `i3d_tsm_audio.py:bottleneck` through a few tokens only (MBT);
`i3d_tsm_audio.py:digit` tells the digit in place of the command. `full` is the full-size variant: I3D on all frames and
TSM-R50 on 8, 224 x 224, and Cnn14 on the sound, of a store with a --short_side of 256.

Expected accuracy, two folds: of the command 100 %, with `bottleneck` 99; sound alone has 99, motion 65, pictures 43,
the most frequent one 28. Of the digit, when it begins with encoders that were trained alone, as
experiments/ablations/systems.py has it, 99 %, with `bottleneck` 97; sound alone has 97, motion 42, pictures 21, the
most frequent one 14.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('bottleneck', 'digit', 'full')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is some of `ARGUMENTS`, with commas between them."""
    chosen = configs.choices(arg, ARGUMENTS, 'i3d_tsm_audio.py')
    config = common.small(250, 125)
    common.command(config)
    if 'digit' in chosen:  # It begins 1.0 to 2.0 s into the clip.
        config.data.target, config.data.window.start = 'digit', (0.9, 1.1)
    config.data.streams = dict(i3d=common.mouth(16), tsm=common.mouth(8, 'flow'), audio=dict(modality='audio'))
    # Sound is learned ten times faster; where it is always there, the pictures learn nothing.
    config.data.dropout = dict(i3d=0.2, tsm=0.2, audio=0.5)
    config.model.preprocess = dict(i3d='centred', tsm='flow_tsn', audio='none')
    config.model.encoders = dict(i3d=dict(name='i3d', width_multiplier=0.125, bn_momentum=0.95),
                                 tsm=dict(name='tsm_resnet18', width_multiplier=0.25),
                                 audio=dict(name='conv2d_audio', bn_momentum=0.95))
    config.model.fusion = (dict(name='bottleneck', features=128, num_bottlenecks=4) if 'bottleneck' in chosen else
                           dict(name='cross_attention', features=128))
    config.model.head.dropout = 0.3
    if 'full' in chosen:
        common.full(config, peak=3e-4)
        config.data.streams.i3d.update(common.WHOLE)
        config.data.streams.tsm.update(dict(frames=8, sampling='segments', **common.WHOLE))
        config.model.encoders = dict(i3d=dict(name='i3d', remat=True), tsm=dict(name='tsm_resnet50', remat=True),
                                     audio=dict(name='panns_cnn14'))
        config.model.fusion.features = 512
        config.model.head.dropout = 0.5
    return configs.lock(config)
