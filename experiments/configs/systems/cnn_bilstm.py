r"""A narrow CNN on frames and a BiLSTM on the sentence, tanh-concatenated: the command of a GRID sentence.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/systems/cnn_bilstm.py --workdir=runs/cnn_bilstm --config.data.fold=0

W [tanh(W_t H_t); tanh(W_v V_v)] of the text's and the frames' features. The command is hidden in the text, and in
training each further word at the rate 0.5. The text still leaks, see resnet_lstm.py.

`cnn_bilstm.py:full` is the full-size variant with MobileNetV2: 224 x 224 of a store with a --short_side of 256.

Expected accuracy of the command, two folds, when it begins with encoders that were trained alone, as
experiments/ablations/systems.py has it: 80 %; its text alone has 67, its pictures 45, the most frequent one 28.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'cnn_bilstm.py')
    config = common.small(300, 150)
    common.command(config)
    config.data.streams = dict(rgb=common.mouth(12), text=common.sentence())
    config.data.dropout = dict(rgb=0.2, text=0.3)
    config.model.preprocess = dict(rgb='centred', text='ids')
    config.model.encoders = dict(rgb=dict(name='resnet18', width_multiplier=0.125),
                                 text=dict(name='bilstm', vocab_size=64, embedding_size=32, hidden_size=64))
    config.model.fusion = dict(name='tanh_concat', features=128)
    config.model.head.dropout = 0.3
    if full:
        common.full(config)
        config.data.streams.rgb.update(common.WHOLE)
        config.model.encoders = dict(rgb=dict(name='mobilenet_v2'),
                                     text=dict(name='bilstm', vocab_size=64, embedding_size=300, hidden_size=512))
        config.model.fusion.features = 512
        config.model.head.dropout = 0.5
    return configs.lock(config)
