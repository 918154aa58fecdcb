r"""PANNs: Kong et al., "PANNs: Large-Scale Pretrained Audio Neural Networks for Audio Pattern Recognition", 2020.

  vmmjax train --config=experiments/papers/panns.py:audioset,cnn14 --workdir=runs/papers/panns/audioset_cnn14

experiments/papers/README.md has the commands of every row, the published figures and the cost; `ROWS` names the rows.
On AudioSet `plain` is without mixup and `20k` is the balanced subset alone; on ESC-50 a row is `scratch`, `frozen` (a
layer on the embeddings of Cnn14 as it was trained on AudioSet) or `full` (all of it trained further).

Published are the batch of 32, Adam (with amsgrad) at 1e-3, mixup with alpha 1 (scripts/4_train.sh, pytorch/main.py),
SpecAugment (pytorch/models.py), and that Cnn14 took 600,000 steps (README, "Results"). Not published, and chosen here:
the steps of the other networks (as many), and everything of ESC-50 but the network: rate, batch and steps are those
that the authors published for another data set, GTZAN (runme.sh of qiuqiangkong/panns_transfer_to_gtzan: 1e-4, 32,
10,000, mixup). The paper's table XIII and its text name the two frozen systems in opposite ways; here it is the table.
Left out: the frozen network below three layers, a head that is not here; MobileNets, 1-D networks and Wavegrams.
"""

from typing import Any

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean

_TABLE = 'Kong et al. 2020, table '
_FOLDS = (1, 2, 3, 4, 5)
_ALL = '--source=audioset:{}eval_segments.csv --media=audioset --columns=audio --front_end={}'
STORES = {
    **{f'stores/audioset{suffix}': _ALL.format('balanced_train_segments.csv,unbalanced_train_segments.csv,', front_end)
       for suffix, front_end in (('', 'panns_32k'), ('_16k', 'panns_16k'))},
    'stores/audioset_20k': _ALL.format('balanced_train_segments.csv,', 'panns_32k'),
    'stores/esc50': '--source=esc50:ESC-50-master/meta/esc50.csv --columns=audio --front_end=panns_32k',
}
STARTS: dict[str, str] = {}

# Table XII counts multiplications and additions of 10 s, with those of the spectrogram, which is no part of our
# networks: a convolution by 2 x 513 windows of 1024 samples for 1001 frames, and 64 mel bands.
_FRONT_END = 1001 * (2 * 513 * 1024 + 513 * 64) / 1e9
_EXACT = f'{_TABLE}XII, less the {_FRONT_END:.2f} G of the spectrogram'
# Table XI: mAP, AUC and d' (that of ResNet22, 0.270, is a misprint); table XII: multiply-adds and parameters.
_NETWORKS: dict[str, tuple[str, float, float, float | None, float, int]] = {
    'cnn6': ('panns_cnn6', 34.3, 96.5, 2.568, 21.986, 4_837_455),
    'cnn10': ('panns_cnn10', 38.0, 97.1, 2.678, 28.166, 5_219_279),
    'cnn14': ('panns_cnn14', 43.1, 97.3, 2.732, 42.220, 80_753_615),
    'resnet22': ('panns_resnet22', 43.0, 97.3, None, 30.081, 63_675_087),
    'resnet38': ('panns_resnet38', 43.4, 97.4, 2.737, 48.962, 73_783_247),
    'resnet54': ('panns_resnet54', 42.9, 97.1, 2.675, 54.563, 104_318_159),
}
_BALANCED = ('Clips are drawn evenly, not by class as in the paper (worth .041 of mAP there, table V: .416 to .375); '
             '64 clips make 64 mixed ones, not 32.')
_CLIP = 'whole clip of 10 s'


def _audioset(network: str) -> dict[str, Any]:
    _, precision, area, d_prime, products, parameters = _NETWORKS[network]
    figures = {'mAP': precision, 'AUC': area} | ({} if d_prime is None else {"d'": d_prime})
    return dict(classes=527, source=f'{_TABLE}XI', parameters=parameters / 1e6, gmacs=products / 2 - _FRONT_END,
                counted=_EXACT, differs=_BALANCED, tests={_CLIP: ({}, figures)})


def _other(source: str, figures: dict[str, float], differs: str) -> dict[str, Any]:
    return _audioset('cnn14') | dict(source=f'{_TABLE}{source}', differs=differs, tests={_CLIP: ({}, figures)})


def _esc50(accuracy: float) -> dict[str, Any]:
    return dict(classes=50, source=f'{_TABLE}XIII', folds=_FOLDS, differs='Steps, rate and batch are those of GTZAN.',
                tests={'whole clip of 5 s, mean of five folds': ({}, {'top-1': accuracy})})


ROWS: dict[str, dict[str, Any]] = {
    **{f'audioset,{network}': _audioset(network) for network in _NETWORKS},
    'audioset,cnn14,16k': _other('IX', {'mAP': 42.7, 'AUC': 97.3, "d'": 2.719}, _BALANCED),
    'audioset,cnn14,plain': _other('V', {'mAP': 37.5, 'AUC': 97.1, "d'": 2.690}, ''),
    'audioset,cnn14,plain,20k': _other('V', {'mAP': 22.4, 'AUC': 89.4, "d'": 1.763}, ''),
    'esc50,cnn14,scratch': _esc50(83.3),
    'esc50,cnn14,frozen': _esc50(90.8),
    'esc50,cnn14,full': _esc50(94.7),
}


def get_config(arg: str = 'audioset,cnn14') -> ConfigDict:
    """The config of a row of `ROWS`."""
    if arg not in ROWS:
        raise UserError(f'panns.py has no row {arg!r}: {did_you_mean(arg, ROWS)}.')
    parts = arg.split(',')
    config = configs.defaults()
    config.log_every = 100
    # pytorch/main.py: Adam of amsgrad, betas .9 and .999, no decay, no clipping.
    config.optimizer.name, config.optimizer.options = 'optax:amsgrad', dict(b1=0.9, b2=0.999)
    config.optimizer.clip = 0.0
    config.optimizer.lr.update(dict(schedule='constant', warmup_steps=0))
    config.batch_size = 32
    config.data.streams = dict(audio=dict(modality='audio'))
    config.model.preprocess = dict(audio='none')
    config.model.encoders = dict(audio=dict(name=_NETWORKS[parts[1]][0]))
    config.model.head.dropout = 0.0  # The encoder has its own.
    # pytorch/models.py: two masks of up to 64 frames, and of up to 8 bands.
    config.data.augment.spec_augment = (2, 64, 2, 8)
    if 'plain' not in parts:
        # Of 64 clips 32 mixed ones are made there, and 64 here.
        config.batch_size, config.data.augment.mixup = 64, 1.0
    if parts[0] == 'audioset':
        config.task.name = 'multi_label'
        del config.task.label_smoothing
        config.steps, config.optimizer.lr.peak = 600_000, 1e-3
        config.data.store = 'stores/audioset' + ''.join(f'_{part}' for part in parts if part in ('16k', '20k'))
        config.data.window.seconds = 10.0
        config.evaluate_every = config.checkpoint_every = 20_000
        return configs.lock(config)
    config.steps, config.optimizer.lr.peak = 10_000, 1e-4
    config.data.store, config.data.window.seconds, config.data.fold_validates = 'stores/esc50', 5.0, False
    if 'scratch' not in parts:
        config.init_from.workdir, config.init_from.skip = 'runs/papers/panns/audioset_cnn14', ('head',)
    if 'frozen' in parts:
        config.freeze = ('encoders_audio',)
        config.model.encoders.audio.frozen_bn = 'all'
    config.evaluate_every, config.checkpoint_every = 0, 1000
    return configs.lock(config)
