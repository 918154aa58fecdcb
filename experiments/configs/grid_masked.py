r"""Masked mouths and masked sound: most patches are hidden, and predicted from the others, without a label.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/grid_masked.py --workdir=runs/masked --config.data.fold=0

`grid_masked.py:rgb` and `grid_masked.py:audio` mask one stream alone. Evaluation gives the error of the hidden patches,
and what share of their variance is explained. `grid_masked.py:command` fine-tunes the pictures' encoder on the first
word of the sentence, at a lower rate in its lower blocks:

  vmmjax train --config=experiments/configs/grid_masked.py:command --workdir=runs/command --config.data.fold=0 \
      --config.init_from.workdir=runs/masked --config.init_from.skip="('head', 'fc_norm')" --config.data.labels_share=.1

A ViT of 128 features and 4 blocks in each stream.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs

ARGUMENTS = ('rgb', 'audio', 'command')
SIZES = dict(rgb=(2, 8, 8), audio=(1, 16, 16))
BLOCKS = 4


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty for both streams, one of them, or `command` for fine-tuning."""
    chosen = configs.choices(arg, ARGUMENTS, 'grid_masked.py')
    command = 'command' in chosen
    used = ['rgb'] if command else [name for name in SIZES if name in chosen or not chosen]
    config = configs.defaults()
    config.steps, config.batch_size = (600, 20) if command else (4000, 32)
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 200 if command else 1000, 200
    config.optimizer.lr.update(dict(peak=1e-3, warmup_steps=60 if command else 400))
    config.optimizer.options = dict(b2=0.999 if command else 0.95, weight_decay=0.05)
    config.data.store, config.data.target = 'stores/grid', 'command'
    config.data.window.seconds, config.data.window.start = 1.28, (0.0, 0.2) if command else (0.0, 1.6)
    streams = dict(rgb=dict(modality='rgb', frames=16, size=48, region=(0.54, 0.32, 0.86, 0.70)),
                   audio=dict(modality='audio'))
    config.data.streams = {name: streams[name] for name in used}
    config.data.augment.crop = 'centre'
    config.model.preprocess = {name: dict(rgb='imagenet', audio='none')[name] for name in used}
    config.model.encoders = {
        name: dict(name=dict(rgb='videomae', audio='audiomae')[name], size=SIZES[name], pooled=command, hidden_size=128,
                   num_hidden_layers=BLOCKS, intermediate_size=512) for name in used}
    if command:
        config.optimizer.layers = ('patch_embeddings/', *(rf'encoder/layer_{i}/' for i in range(BLOCKS)))
        config.optimizer.layer_decay = 0.75
        config.task.label_smoothing = 0.1
        return configs.lock(config)
    masks = dict(rgb=dict(ratio=0.9, masking='tube', target='channel'),
                 audio=dict(ratio=0.8, masking='random', target='patch'))
    config.task = dict(name='masked', streams={name: dict(masks[name], size=SIZES[name]) for name in used},
                       decoder=dict(hidden_size=128, num_hidden_layers=2))
    return configs.lock(config)
