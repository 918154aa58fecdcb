r"""ResNet-18 on frames and an LSTM on the sentence, concatenated: the command of a GRID sentence.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/systems/resnet_lstm.py --workdir=runs/resnet_lstm --config.data.fold=0

The command is hidden in the text, and in training each further word at the rate 0.5. The text still leaks: sentences of
GRID were not drawn independently, and the other five words alone tell the command in four of five (majority 28.5 %). So
the network on the text alone belongs beside every figure: `vmmjax ablate --rows=experiments/ablations/systems.py`.

`resnet_lstm.py:full` is the full-size variant: 224 x 224 of a store with a --short_side of 256.

Expected accuracy of the command, two folds, when it begins with encoders that were trained alone, as
experiments/ablations/systems.py has it: 73 %; its text alone has 63, its pictures 60, the most frequent one 28.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'resnet_lstm.py')
    config = common.small(300, 150)
    common.command(config)
    config.data.streams = dict(rgb=common.mouth(12), text=common.sentence())
    config.data.dropout = dict(rgb=0.2, text=0.3)
    config.model.preprocess = dict(rgb='centred', text='ids')
    config.model.encoders = dict(rgb=dict(name='resnet18', width_multiplier=0.25),
                                 text=dict(name='lstm', vocab_size=64, embedding_size=32, hidden_size=64))
    config.model.head.dropout = 0.3
    if full:
        common.full(config)
        config.data.streams.rgb.update(common.WHOLE)
        config.model.encoders = dict(rgb=dict(name='resnet18'),
                                     text=dict(name='lstm', vocab_size=64, embedding_size=300, hidden_size=512))
        config.model.head.dropout = 0.5
    return configs.lock(config)
