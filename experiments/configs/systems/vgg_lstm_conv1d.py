r"""VGG16 on frames, an LSTM on the sentence and Conv1D on the waveform, added up: the command of a GRID sentence.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio,waveform --short_side=160
  vmmjax train --config=experiments/configs/systems/vgg_lstm_conv1d.py --workdir=runs/vgg_lstm_conv1d \
      --config.data.fold=0

The command is hidden in the text, and in training each further word at the rate 0.5. The text still leaks, see
resnet_lstm.py. `vgg_lstm_conv1d.py:full` is the full-size variant: 224 x 224 of a store with a --short_side of 256.

Expected accuracy of the command, two folds, when it begins with encoders that were trained alone, as
experiments/ablations/systems.py has it: 97 %; its sound alone has 92, its text 63, its pictures 36, the most frequent
one 28.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'vgg_lstm_conv1d.py')
    config = common.small(300, 150)
    common.command(config)
    config.data.streams = dict(rgb=common.mouth(8), text=common.sentence(), waveform=dict(modality='waveform'))
    config.data.dropout = dict(rgb=0.2, text=0.3, waveform=0.4)
    config.model.preprocess = dict(rgb='centred', text='ids', waveform='none')
    config.model.encoders = dict(
        rgb=dict(name='vgg16_bn', width_multiplier=0.125, dropout=0.0),
        text=dict(name='lstm', vocab_size=64, embedding_size=32, hidden_size=64),
        waveform=dict(name='conv1d_m5', stem=32, groups=((1, 32), (1, 64), (1, 128)), bn_momentum=0.95))
    config.model.fusion = dict(name='sum', features=128)
    config.model.head.dropout = 0.3
    if full:
        common.full(config, peak=1e-4)
        config.data.streams.rgb.update(common.WHOLE)
        config.model.encoders = dict(
            rgb=dict(name='vgg16'), text=dict(name='lstm', vocab_size=64, embedding_size=300, hidden_size=512),
            waveform=dict(name='conv1d_m11'))
        config.model.fusion.features = 512
        config.model.head.dropout = 0.5
    return configs.lock(config)
