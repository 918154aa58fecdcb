r"""BERT on the sentence and VGG16 on frames, concatenated: the command of a GRID sentence.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/systems/bert_vgg.py --workdir=runs/bert_vgg --config.data.fold=0

The command is hidden in the text, and in training each further word at the rate 0.5. The text still leaks, see
resnet_lstm.py.

`bert_vgg.py:full` is the full-size variant: BERT-base, 224 x 224 of a store with a --short_side of 256; it needs the
network's vocabulary: --config.data.streams.text.vocab=bert-base-uncased/vocab.txt.

Expected accuracy of the command, two folds, when it begins with encoders that were trained alone, as
experiments/ablations/systems.py has it: 91 %; its text alone has 86, its pictures 36, the most frequent one 28.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

common = configs.load(Path(__file__).with_name('common.py'))
ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'bert_vgg.py')
    config = common.small(300, 150)
    common.command(config)
    config.data.streams = dict(rgb=common.mouth(8), text=common.sentence())
    config.data.dropout = dict(rgb=0.2, text=0.3)
    config.model.preprocess = dict(rgb='centred', text='ids')
    config.model.encoders = dict(
        rgb=dict(name='vgg16_bn', width_multiplier=0.125, dropout=0.0),
        text=dict(name='bert', vocab_size=64, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                  intermediate_size=128, max_position_embeddings=16))
    config.model.head.dropout = 0.3
    if full:
        common.full(config, peak=5e-5)
        config.data.streams.rgb.update(common.WHOLE)
        config.data.streams.text.update(dict(tokenizer='wordpiece', vocab='bert-base-uncased/vocab.txt', length=16))
        config.model.encoders = dict(rgb=dict(name='vgg16'), text=dict(name='bert'))
        config.model.head.dropout = 0.5
    return configs.lock(config)
