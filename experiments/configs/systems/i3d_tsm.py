r"""I3D and TSM on the same pictures, as a weighted average or a concatenation: the command of a GRID sentence.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/systems/i3d_tsm.py --workdir=runs/i3d_tsm --config.data.fold=0

`i3d_tsm.py:concat` concatenates. `i3d_tsm.py:fights` tells fights from calm scenes of surveillance cameras:

  vmmjax prepare --source=fights/manifest.csv --store=stores/fights --columns=rgb,flow,audio --short_side=64
  vmmjax train --config=experiments/configs/systems/i3d_tsm.py:fights,concat --workdir=runs/i3d_tsm_fights

`full` is the full-size variant: I3D on 64 frames and TSM-R50 on 8, 224 x 224, of stores with a --short_side of 256.

Expected accuracy, two folds: of the command 59 %, with `concat` 65; I3D alone has 43, TSM 54, the most frequent one 28.
Of fights 76 %, with `concat` 78; I3D alone has 80, TSM 66, the most frequent class 60.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('concat', 'fights', 'full')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is some of `ARGUMENTS`, with commas between them."""
    chosen = configs.choices(arg, ARGUMENTS, 'i3d_tsm.py')
    fights, full = 'fights' in chosen, 'full' in chosen
    config = common.small(250, 125)
    if fights:
        config.steps = 400
        config.evaluate_every = config.checkpoint_every = 200
        config.data.store, config.data.target = 'stores/fights', 'event'
        config.data.window.seconds = 2.0
        config.data.augment.update(dict(color=0.1, flip=0.5))
        config.data.streams = dict(i3d=dict(modality='rgb', frames=16, size=56),
                                   tsm=dict(modality='rgb', frames=8, size=56))
    else:
        common.command(config)
        config.data.streams = dict(i3d=common.mouth(16), tsm=common.mouth(8))
    config.model.preprocess = dict(i3d='centred', tsm='centred')
    config.model.encoders = dict(i3d=dict(name='i3d', width_multiplier=0.125, bn_momentum=0.95),
                                 tsm=dict(name='tsm_resnet18', width_multiplier=0.25))
    config.model.fusion = dict(name='concat' if 'concat' in chosen else 'weighted_average')
    config.model.head.dropout = 0.3
    # Each learns by itself too.
    config.data.dropout = dict(i3d=0.2, tsm=0.2)
    if full:
        common.full(config)
        config.data.streams.i3d.update(dict(frames=64 if fights else 32, **common.WHOLE))
        config.data.streams.tsm.update(dict(frames=8, sampling='segments', **common.WHOLE))
        config.model.encoders = dict(i3d=dict(name='i3d', remat=True), tsm=dict(name='tsm_resnet50', remat=True))
        config.model.head.dropout = 0.5
    return configs.lock(config)
