r"""A narrow CNN on frames and a BiLSTM on the sentence, tanh-concatenated: the command of a GRID sentence.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/systems/cnn_bilstm.py --workdir=runs/cnn_bilstm --config.data.fold=0

W [tanh(W_t H_t); tanh(W_v V_v)] of the text's and the frames' features. The command is hidden in the text, and in
training each further word at the rate 0.5. The text still leaks, see resnet_lstm.py.

`cnn_bilstm.py:full` is the full-size variant with MobileNetV2: 224 x 224 of a store with a --short_side of 256.

Expected accuracy of the command, two folds, when it begins with encoders that were trained alone, as
experiments/ablations/systems.py has it: 80 %; its text alone has 67, its pictures 45, the most frequent one 28.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs

ARGUMENTS = ('full',)


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty or `full`."""
    full = 'full' in configs.choices(arg, ARGUMENTS, 'cnn_bilstm.py')
    config = configs.defaults()
    config.steps, config.batch_size = 300, 16
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 150, 150
    config.optimizer.options.weight_decay = 1e-2
    config.task.label_smoothing = 0.05
    config.data.store, config.data.target = 'stores/grid', 'command'
    # The command begins 0.2 to 0.9 s into the clip; the mouth, wherever the head is.
    config.data.window.seconds, config.data.window.start = 1.28, (0.0, 0.2)
    config.data.streams = dict(
        rgb=dict(modality='rgb', frames=12, size=40, region=(0.56, 0.35, 0.86, 0.65)),
        text=dict(modality='text:text', length=8, hide=('command',), mask_rate=0.5))
    config.data.fold_validates = False
    config.data.dropout = dict(rgb=0.2, text=0.3)
    config.model.preprocess = dict(rgb='centred', text='ids')
    config.model.encoders = dict(rgb=dict(name='resnet18', width_multiplier=0.125),
                                 text=dict(name='bilstm', vocab_size=64, embedding_size=32, hidden_size=64))
    config.model.fusion = dict(name='tanh_concat', features=128)
    config.model.head.dropout = 0.3
    if full:
        config.steps, config.batch_size = 20_000, 64
        config.optimizer.lr.warmup_steps = 1000
        config.evaluate_every = config.checkpoint_every = 1000
        config.data.streams.rgb.update(dict(size=224, region=(0.0, 0.0, 1.0, 1.0)))
        config.model.encoders = dict(rgb=dict(name='mobilenet_v2'),
                                     text=dict(name='bilstm', vocab_size=64, embedding_size=300, hidden_size=512))
        config.model.fusion.features = 512
        config.model.head.dropout = 0.5
    return configs.lock(config)
