r"""Sound alone: ESC-10 (Piczak 2015), ten environmental sounds in four folds.

  vmmjax prepare --source=ESC-10/manifest.csv --store=stores/esc10 --columns=audio
  vmmjax train --config=experiments/configs/systems/audio.py --workdir=runs/audio --config.data.fold=1

The network is ResNet22 of the PANNs, or what the argument names: `audio.py:cnn10`, `audio.py:cnn14` (PANNs, too),
`audio.py:vggish`. `full` is the full-size variant, such as `audio.py:full,cnn14`; without it they are narrow.

Expected accuracy: ResNet22 87.5 % (four folds), VGGish 82.5 and Cnn14 80.6 (two folds), Cnn10 76.6 (four folds), of 240
training clips a fold; the published figures have 320.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('resnet', 'cnn10', 'cnn14', 'vggish', 'full')
SMALL = {
    'cnn10': dict(name='panns_cnn10', widths=(8, 16, 32, 64), features=128),
    'cnn14': dict(name='panns_cnn14', widths=(8, 16, 32, 64, 128, 256), features=256),
    'vggish': dict(name='vggish', widths=(16, 32, 64, 64, 128, 128), hidden=256, deviation=None),
    'resnet': dict(name='panns_resnet22', width_multiplier=0.125, features=256),
}


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is one of the networks, `full`, or both with a comma between them."""
    chosen = configs.choices(arg, ARGUMENTS, 'audio.py')
    network = next((name for name in SMALL if name in chosen), 'resnet')
    config = common.small(600, 300)
    if network != 'vggish':  # It has no BatchNorm.
        config.optimizer.lr.peak = 5e-3
    config.data.store, config.data.target = 'stores/esc10', 'sound'
    config.data.window.seconds = 5.0
    config.data.streams = dict(audio=dict(modality='audio'))
    config.data.augment.update(dict(time_shift=1.0, spec_augment=(1, 20, 1, 6)))
    config.model.preprocess = dict(audio='none')
    config.model.encoders = dict(audio=SMALL[network])
    config.model.head.dropout = 0.0
    if 'full' in chosen:
        config.steps, config.batch_size = 4000, 32
        config.evaluate_every = config.checkpoint_every = 1000
        config.optimizer.lr.peak = 1e-3
        config.model.encoders = dict(audio=dict(name=SMALL[network]['name']))
    return configs.lock(config)
