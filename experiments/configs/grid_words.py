r"""Hidden words of GRID's sentences from the other words, lips and sound.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/grid_words.py --workdir=runs/words --config.data.fold=0

Half of the words are hidden in training, all of them in evaluation. In GRID the adverb fixes the parity of the digit,
and no letter and digit occur twice together, so that with some words shown the text alone may tell a digit better than
a tenth.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs


def get_config(arg: str = '') -> ConfigDict:
    """The config; it takes no argument."""
    configs.choices(arg, (), 'grid_words.py')
    config = configs.defaults()
    config.steps, config.batch_size = 2000, 32
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 500, 250
    config.task = dict(name='masked_tokens', stream='text', ratio=0.5, evaluated=1.0)
    config.data.store = 'stores/grid'
    config.data.streams = dict(
        text=dict(modality='text:text', tokenizer='words', length=8),
        rgb=dict(modality='rgb', frames=50, sampling='dense', size=48, region=(0.54, 0.32, 0.86, 0.70)),
        audio=dict(modality='audio'))
    config.data.augment.crop = 'centre'
    config.data.dropout = dict(rgb=0.3, audio=0.3)
    config.model.preprocess = dict(text='ids', rgb='centred', audio='none')
    config.model.encoders = dict(
        text=dict(name='bert', vocab_size=64, hidden_size=128, num_hidden_layers=2, num_attention_heads=4,
                  intermediate_size=256, max_position_embeddings=8),
        rgb=dict(name='tdnn', pool=2, per_frame=True), audio=dict(name='conv2d_audio', bn_momentum=0.95))
    return configs.lock(config)
