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

from ml_collections import ConfigDict

from vmmjax import config as configs

ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'bert_vgg.py')
    config = configs.defaults()
    config.steps, config.batch_size = 300, 16
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 150, 150
    config.optimizer.options.weight_decay = 1e-2
    config.task.label_smoothing = 0.05
    config.data.store, config.data.target = 'stores/grid', 'command'
    # The command begins 0.2 to 0.9 s into the clip; the mouth, wherever the head is.
    config.data.window.seconds, config.data.window.start = 1.28, (0.0, 0.2)
    config.data.streams = dict(
        rgb=dict(modality='rgb', frames=8, size=40, region=(0.56, 0.35, 0.86, 0.65)),
        text=dict(modality='text:text', length=8, hide=('command',), mask_rate=0.5))
    config.data.fold_validates = False
    config.data.dropout = dict(rgb=0.2, text=0.3)
    config.model.preprocess = dict(rgb='centred', text='ids')
    config.model.encoders = dict(
        rgb=dict(name='vgg16_bn', width_multiplier=0.125, dropout=0.0),
        text=dict(name='bert', vocab_size=64, hidden_size=64, num_hidden_layers=2, num_attention_heads=4,
                  intermediate_size=128, max_position_embeddings=16))
    config.model.head.dropout = 0.3
    if full:
        config.steps, config.batch_size = 20_000, 64
        config.optimizer.lr.peak, config.optimizer.lr.warmup_steps = 5e-5, 1000
        config.evaluate_every = config.checkpoint_every = 1000
        config.data.streams.rgb.update(dict(size=224, region=(0.0, 0.0, 1.0, 1.0)))
        config.data.streams.text.update(dict(tokenizer='wordpiece', vocab='bert-base-uncased/vocab.txt', length=16))
        config.model.encoders = dict(rgb=dict(name='vgg16'), text=dict(name='bert'))
        config.model.head.dropout = 0.5
    return configs.lock(config)
