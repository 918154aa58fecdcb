r"""MBT: Nagrani, Yang, Arnab, Jansen, Schmid and Sun, "Attention Bottlenecks for Multimodal Fusion", 2021.

  vmmjax train --config=experiments/papers/mbt.py:audioset_20k,both --workdir=runs/papers/mbt/audioset_20k_both

experiments/papers/README.md has the commands of every row, the published figures and the cost; `ROWS` names the rows:
the balanced subset of AudioSet, or Kinetics-400, from the `audio`, the pictures (`rgb`) or `both`. Two ViT-B see the
patches of 32 pictures and of 8 s of log-mels, and exchange what they know through four tokens from the ninth layer on.

Hyper-parameters are those of the authors' config, projects/mbt/configs/audioset/balanced_audioset_base.py of
google-research/scenic, with the first tokens of the paper in its head (`gap`, which stands there, does not run). Not
published, and chosen here: the strength of the changes of colour, momentum's .9, which is that library's default, and
for Kinetics-400, of which there is no config, all that AudioSet has but 30 epochs. Left out: the 500,000 clips of
AudioSet, whose list was not published.
"""

from typing import Any

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean

_COLUMNS = '--columns=rgb,audio --bands=128 --fps=25 --short_side=256'
STORES = {
    'stores/audioset_20k_both': '--source=audioset:balanced_train_segments.csv,eval_segments.csv --media=audioset '
                                f'{_COLUMNS}',
    'stores/kinetics400_both': f"--source='kinetics:kinetics400/*.csv' --media=kinetics400 {_COLUMNS}",
}
_VIT = 'runs/papers/imagenet/vit'
STARTS = {_VIT: f"vmmjax convert vit-base-patch16-224-in21k --num_classes=0 --allow_unused='pooler.*' --output={_VIT}"}

# Data set -> clips of its training split (of Kinetics-400 as mmaction2 lists it), epochs.
_TRAINING = {'audioset_20k': (20_361, 50), 'kinetics400': (240_436, 30)}
_DIFFERS = ('Pictures are spread over the 8 s that are heard and not 2.56 s on their own; log-mels are made here and '
            'not normalised; the loss is of the mean of both logits, not the mean of two losses; the first tokens and '
            'the bottleneck begin as drawn; pictures are not scaled at random.')
_COUNTED = ("the authors' network, counted, less two of three colours of the spectrogram, a fifth token of the "
            "bottleneck and the first tokens' positions")


def _audioset(precision: float, **further: Any) -> dict[str, Any]:
    return dict(classes=527, bands=128, source='README of google-research/scenic, projects/mbt', differs=_DIFFERS,
                **further, tests={'4 clips of 8 s': ({'data.views.clips': 4}, {'mAP': precision})})


def _kinetics(source: str = '', **published: float) -> dict[str, Any]:
    figures = {name.replace('_', '-'): value for name, value in published.items()}
    return dict(classes=400, bands=128, source=source, split='validation', tests={
        '4 clips of 8 s': ({'data.views.clips': 4}, figures)}, differs=f'{_DIFFERS} Epochs were chosen here.')


ROWS: dict[str, dict[str, Any]] = {
    'audioset_20k,audio': _audioset(30.9),
    'audioset_20k,rgb': _audioset(27.0),
    'audioset_20k,both': _audioset(43.9, counted=_COUNTED,
                                   parameters=(175_009_295 - 2 * 16 * 16 * 768 - 768 - 2 * 768) / 1e6),
    'kinetics400,audio': _kinetics(),
    'kinetics400,rgb': _kinetics(),
    'kinetics400,both': _kinetics('Nagrani et al. 2021, as Papers with Code quotes it', top_1=80.8, top_5=94.6),
}


def get_config(arg: str = 'audioset_20k,both') -> ConfigDict:
    """The config of a row of `ROWS`."""
    if arg not in ROWS:
        raise UserError(f'mbt.py has no row {arg!r}: {did_you_mean(arg, ROWS)}.')
    dataset, _, stream = arg.partition(',')
    streams = ('audio', 'rgb') if stream == 'both' else (stream,)
    clips, epochs = _TRAINING[dataset]
    config = configs.defaults()
    config.log_every, config.batch_size = 100, 64
    epoch = clips // config.batch_size
    config.steps = epochs * epoch
    config.evaluate_every = config.checkpoint_every = 5 * epoch
    config.optimizer.name, config.optimizer.options = 'sgd', dict(momentum=0.9)
    config.optimizer.clip = 1.0
    config.optimizer.lr.update(dict(peak=0.5, warmup_steps=5 * epoch // 2))
    config.task.name = 'multi_label' if dataset == 'audioset_20k' else 'classification'
    config.task.label_smoothing = 0.3
    config.data.store, config.data.window.seconds = f'stores/{dataset}_both', 8.0
    every = dict(audio=dict(modality='audio'), rgb=dict(modality='rgb', frames=32, size=224))
    config.data.streams = {name: every[name] for name in streams}
    config.data.augment.update(dict(color=0.4, mixup=0.5, spec_augment=(4, 48, 1, 48)))
    config.model.preprocess = {name: dict(audio='none', rgb='signed')[name] for name in streams}
    config.model.encoders = {name: dict(name='patches', size=(2 if name == 'rgb' else 1, 16, 16)) for name in streams}
    config.model.fusion = dict(name='bottleneck', features=768, num_hidden_layers=12, num_attention_heads=12,
                               fusion_layer=8 if len(streams) > 1 else 12, dropout=0.3, project=False)
    # Both streams begin with the blocks of one ViT, trained on ImageNet-21k.
    config.init_from.workdir = _VIT
    config.init_from.skip = ('head', 'fusion/cls', *['fusion/bottleneck'] * (len(streams) > 1))
    rename = {r'fusion/layer_(\d+)_\w+?/': r'encoders_rgb/encoder/layer_\1/', 'fusion/norm/': 'encoders_rgb/layernorm/'}
    config.init_from.rename = (*rename.items(), *[('encoders_audio/', 'encoders_rgb/')] * ('audio' in streams))
    grids = dict(audio=(1, 50, 8), rgb=(16, 14, 14))
    config.init_from.fit = (('patch_embeddings/kernel', 'centre'),
                            *((f'encoders_{name}/embeddings', grids[name]) for name in streams))
    return configs.lock(config)
