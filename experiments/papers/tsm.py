r"""TSM and TSN: Lin, Gan and Han, "TSM: Temporal Shift Module for Efficient Video Understanding", 2019, and the TSN of
its tables; the TSN of mmaction2.

  vmmjax train --config=experiments/papers/tsm.py:kinetics400,r50,8f --workdir=runs/papers/tsm/kinetics400_r50_8f

experiments/papers/README.md has the commands of every row, the published figures and the cost; `ROWS` names the rows.
`8f` are frames a clip, `dense` frames of one stretch of 64 in place of one of each segment, `nl` non-local blocks,
`mm` mmaction2's recipe. A row of several runs adds their scores, as the authors do (issues 8 and 87 of the repository).

Hyper-parameters are those of the README and scripts of mit-han-lab/temporal-shift-module, of the paper's section 5.1
for `dense`, and of mmaction2's configs; the paper was read in transcriptions. Not published, and chosen here: those of
the flow streams are the pictures' ("basically the same", issue 12), those of TSN on Something-Something V1 the TSM's.
The number of training clips of Something-Something V1, which turns epochs into steps, could not be confirmed: 86,017.
Left out: ResNeXt-101 (76.3 % on Kinetics-400), a network that is not here; RGB and flow together on
Something-Something V2 and the leaderboard's submissions, of which no published protocol was found.
"""

from typing import Any

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean

_TSM, _TABLE, _MM = 'README of mit-han-lab/temporal-shift-module', 'Lin et al. 2019, table ', 'README of mmaction2, TSN'
STORES = {
    'stores/kinetics400': "--source='kinetics:kinetics400/*.csv' --media=kinetics400 --columns=rgb,flow --fps=25 "
                          '--short_side=256 --flow=tv_l1_jax',
    'stores/something1': "--source='something:something-something-v1-*.csv' --media=20bn-something-something-v1 "
                         '--columns=rgb,flow --fps=12 --short_side=256 --flow=tv_l1_jax',
    'stores/something2': "--source='something:something-something-v2-*.json' --media=20bn-something-something-v2 "
                         '--columns=rgb --fps=12 --short_side=256',
}
_BACKBONES = {'r50': 'resnet50', 'r101': 'resnet101', 'mobilenetv2': 'mobilenet_v2'}
STARTS = {f'runs/papers/imagenet/{kind}_{name}_{stream}': f'vmmjax convert {name}.pth --name={kind}_{name} '
          f"--stream={stream} --channels={channels} --num_classes=0 --allow_unused='(fc|classifier.1).*' "
          f'--output=runs/papers/imagenet/{kind}_{name}_{stream}'
          for kind in ('tsm', 'tsn') for name in _BACKBONES.values() for stream, channels in (('rgb', 3), ('flow', 10))}
# Classes and training clips: mmaction2's list of Kinetics-400; the distributor's page of Something-Something V2.
_SETS = {'kinetics400': (400, 240_436), 'something1': (174, 86_017), 'something2': (174, 168_913)}

# Test protocols: the README's sections "Testing" and "Something-Something", and mmaction2's test pipelines.
_CENTRE: dict[str, Any] = {}
_TEN = {'data.views.crops': 10}
_FULL = {'data.streams.rgb.size': 256, 'data.views.clips': 2, 'data.views.crops': 3}
_DENSE = {'data.streams.rgb.size': 256, 'data.views.clips': 10, 'data.views.crops': 3}
_ONE_CLIP, _TEN_CROPS = '1 clip, centre of 224', '1 clip, 10 crops of 224'
_TWO_CLIPS, _TEN_CLIPS = '2 clips, 3 crops of 256', '10 clips, 3 crops of 256'
_DENSE_DIFFERS = 'A stretch of 64 pictures is 2.56 s of 25 a second, whatever the video has.'
_FLOW_DIFFERS = 'Multi-scale crops of flow are as small as .66, not .75.'
_MM_DIFFERS = "Views' logits are averaged, not their probabilities"
_NO_FLIP = '; nothing is mirrored, so that no label is swapped.'


def _r50(frames: int) -> dict[str, Any]:
    # Paper, table 2: 33 and 65 G, 24.3 M.
    return dict(parameters=24.3, gmacs=33 if frames == 8 else 65, classes=400)


def _something(frames: int, **tests: Any) -> dict[str, Any]:
    # The paper counts the parameters of Kinetics' 400 classes; mmaction2 those of 174, 23.87 M.
    return dict(classes=174, parameters=23.87, gmacs=33 if frames == 8 else 65,
                counted='parameters: README of mmaction2', **tests)


def _tsn(frames: int, classes: int, top1: float, top5: float, **more: Any) -> dict[str, Any]:
    protocol = {'data.streams.rgb.frames': 25, 'data.views.crops': 10}
    return dict(classes=classes, source=_MM, differs=_MM_DIFFERS + ('.' if classes == 400 else _NO_FLIP),
                tests={'25 frames, 10 crops of 224': (protocol, {'top-1': top1, 'top-5': top5})},
                **(dict(gmacs=102.7, macs_of={'data.streams.rgb.frames': 25}) | more))


_ROWS: dict[str, dict[str, Any]] = {
    'kinetics400,tsn,r50,5f': dict(
        classes=400, source=_TSM, parameters=24.3, gmacs=33, macs_of={'data.streams.rgb.frames': 8},
        counted='Lin et al. 2019, table 2', differs=_DENSE_DIFFERS, tests={
            '8 frames, 1 clip, centre of 224': ({'data.streams.rgb.frames': 8}, {'top-1': 68.8}),
            '8 frames, 1 clip, 10 crops of 224': ({'data.streams.rgb.frames': 8, **_TEN}, {'top-1': 69.9}),
            '8 frames, 10 clips of 64 pictures, 3 crops of 256': (
                {'data.streams.rgb.frames': 8, 'data.streams.rgb.sampling': 'strided', 'data.window.seconds': 2.56,
                 **_DENSE}, {'top-1': 70.6})}),
    'kinetics400,r50,8f': dict(_r50(8), source=_TSM, tests={
        _ONE_CLIP: (_CENTRE, {'top-1': 71.2}), _TEN_CROPS: (_TEN, {'top-1': 72.8})}),
    'kinetics400,r50,16f': dict(_r50(16), source=_TSM, tests={
        _ONE_CLIP: (_CENTRE, {'top-1': 72.6}), _TEN_CROPS: (_TEN, {'top-1': 73.7})}),
    'kinetics400,r50,8f,dense': dict(_r50(8), source=_TSM, differs=_DENSE_DIFFERS,
                                     tests={_TEN_CLIPS: (_DENSE, {'top-1': 74.1})}),
    'kinetics400,r50,8f,dense,nl': dict(
        classes=400, source=_TSM, parameters=31.686, gmacs=61.10, counted="the authors' network, counted",
        differs=_DENSE_DIFFERS, tests={_TEN_CLIPS: (_DENSE, {'top-1': 75.6})}),
    'kinetics400,mobilenetv2,8f,dense': dict(
        classes=400, source=_TSM, parameters=2.736, gmacs=2.40, counted="the authors' network, counted",
        differs=_DENSE_DIFFERS, tests={_TEN_CLIPS: (_DENSE, {'top-1': 69.5})}),
    'kinetics400,r50,8f,flow': dict(
        classes=400, source=_TSM, parameters=24.350, gmacs=34.91, counted="the authors' network, counted",
        differs=_FLOW_DIFFERS, tests={_ONE_CLIP: (_CENTRE, {'top-1': 55.7, 'top-5': 79.5})}),
    'kinetics400,mm,tsn,r50,3f': _tsn(3, 400, 72.83, 90.65, parameters=24.33),
    'kinetics400,mm,tsn,r50,5f': _tsn(5, 400, 73.80, 91.21, parameters=24.33),
    'kinetics400,mm,tsn,r50,8f': _tsn(8, 400, 74.12, 91.34, parameters=24.33),
    'kinetics400,mm,tsn,r101,8f': _tsn(8, 400, 75.89, 92.07, parameters=43.32, gmacs=195.8),
    'something1,tsn,r50,8f': _something(8, source=f'{_TABLE}2', tests={_ONE_CLIP: (_CENTRE, {'top-1': 19.7})}),
    'something1,r50,8f': _something(8, source=_TSM, tests={
        _ONE_CLIP: (_CENTRE, {'top-1': 45.6}), _TWO_CLIPS: (_FULL, {'top-1': 47.2})}),
    'something1,r50,16f': _something(16, source=_TSM, tests={
        _ONE_CLIP: (_CENTRE, {'top-1': 47.2}), _TWO_CLIPS: (_FULL, {'top-1': 48.4})}),
    'something1,r101,8f': dict(
        classes=174, source=_TSM, parameters=42.86, gmacs=62.66, counted='README of mmaction2, TSM', tests={
            _ONE_CLIP: (_CENTRE, {'top-1': 46.9}), _TWO_CLIPS: (_FULL, {'top-1': 48.7})}),
    'something1,r50,8f+16f': dict(
        classes=174, source=f'{_TABLE}2', fuse=('something1,r50,8f', 'something1,r50,16f'),
        tests={f'{_ONE_CLIP}; the scores of both are added': (_CENTRE, {'top-1': 49.7})}),
    'something1,r50,8f,flow': dict(
        classes=174, source='"about 42 %": issue 12 of the repository', differs=_FLOW_DIFFERS,
        tests={_ONE_CLIP: (_CENTRE, {'top-1': 42.0})}),
    'something1,r50,16f,flow': dict(classes=174, differs=_FLOW_DIFFERS, tests={_ONE_CLIP: (_CENTRE, {})}),
    'something1,r50,16f,both': dict(
        classes=174, source=f'{_TABLE}2', fuse=('something1,r50,16f', 'something1,r50,16f,flow'),
        differs='How many clips and crops this figure has was not found.',
        tests={f'{_ONE_CLIP}; the scores of both are added': (_CENTRE, {'top-1': 52.6})}),
    'something2,mm,tsn,r50,8f': _tsn(8, 174, 35.51, 67.09),
    'something2,mm,tsn,r50,16f': _tsn(16, 174, 36.91, 68.77),
    'something2,r50,8f': _something(8, source=_TSM, tests={_TWO_CLIPS: (_FULL, {'top-1': 61.2})}),
    'something2,r50,16f': _something(16, source=_TSM, tests={_TWO_CLIPS: (_FULL, {'top-1': 63.1})}),
    'something2,r101,8f': dict(
        classes=174, source=_TSM, parameters=42.86, gmacs=62.66, counted='README of mmaction2, TSM',
        tests={_TWO_CLIPS: (_FULL, {'top-1': 63.3})}),
}
# What the papers measured.
ROWS = {name: dict(row, split='validation') for name, row in _ROWS.items()}


def get_config(arg: str = 'kinetics400,r50,8f') -> ConfigDict:
    """The config of a row of `ROWS`."""
    if arg not in ROWS or 'fuse' in ROWS[arg]:
        trained = [name for name, row in ROWS.items() if 'fuse' not in row]
        raise UserError(f'tsm.py has no row {arg!r} that is trained: {did_you_mean(arg, trained)}.')
    parts = arg.split(',')
    dataset, stream, kind = parts[0], 'flow' if 'flow' in parts else 'rgb', 'tsn' if 'tsn' in parts else 'tsm'
    backbone = next(name for part, name in _BACKBONES.items() if part in parts)
    frames = next(int(part[:-1]) for part in parts if part.endswith('f') and part[:-1].isdigit())
    config = configs.defaults()
    config.log_every = 100
    config.data.store = f'stores/{dataset}'
    config.data.window.seconds = 0.0
    config.data.streams = {stream: dict(modality=stream, frames=frames, sampling='segments', size=224)}
    if stream == 'flow':
        config.data.streams[stream].stack = 5
    # ops/models.py, get_augmentation; Something-Something is not mirrored.
    config.data.augment.crop, config.data.augment.flip = 'multi_scale', 0.5 if dataset == 'kinetics400' else 0.0
    config.model.preprocess = {stream: 'imagenet' if stream == 'rgb' else 'flow_tsn'}
    encoder: dict[str, Any] = dict(name=f'{kind}_{backbone}')
    config.init_from.workdir = f'runs/papers/imagenet/{kind}_{backbone}_{stream}'
    config.init_from.skip = ('head',)
    if 'nl' in parts:
        encoder['non_local'] = True
        config.init_from.skip = ('head', '/nl/')
    config.model.encoders = {stream: encoder}
    config.optimizer.name = 'sgd'
    config.optimizer.lr.update(dict(schedule='step', warmup_steps=0, factor=0.1))
    if 'mm' in parts:
        # configs/_base_/schedules/sgd_100e.py and sgd_50e.py, _base_/models/tsn_r50.py: 8 GPUs of 32 clips.
        epochs, milestones = (100, (40, 80)) if dataset == 'kinetics400' else (50, (20, 40))
        peak, decay, config.batch_size, clip, dropout, deviation = 0.01, 1e-4, 256, 40.0, 0.4, 0.01
        dropout = 0.4 if dataset == 'kinetics400' else 0.5
    else:
        epochs, milestones, clip, dropout, deviation = 50, (20, 40), 20.0, 0.5, 0.001
        if 'dense' in parts:
            # Paper, section 5.1.
            epochs, milestones, peak, decay, config.batch_size = 100, (40, 80), 0.01, 1e-4, 64
            config.data.window.seconds, config.data.streams[stream].sampling = 2.56, 'strided'
        elif dataset == 'kinetics400':
            # scripts/train_tsm_kinetics_rgb_8f.sh, _16f.sh and train_tsn_kinetics_rgb_5f.sh.
            peak, decay, config.batch_size = 0.02, 1e-4, 128
        else:
            # README, "Training"; the weight decay is the default of opts.py.
            peak, decay, config.batch_size = 0.01, 5e-4, 64
        # ops/models.py, get_optim_policies: rates and decays by group.
        first = (('encoders_flow/conv1/kernel', 5.0, 1.0),) if stream == 'flow' else ()
        inside = (('/nl/(g_0|theta|phi_0|W_0)/bias', 2.0, 0.0),) if 'nl' in parts else ()
        config.optimizer.multipliers = (('head/.*kernel', 5.0, 1.0), ('head/.*bias', 10.0, 0.0), *first, *inside)
    each = _SETS[dataset][1] // config.batch_size
    config.steps, config.optimizer.lr.milestones = epochs * each, tuple(epoch * each for epoch in milestones)
    config.optimizer.lr.peak, config.optimizer.clip = peak, clip
    config.optimizer.options = dict(momentum=0.9, weight_decay=decay)
    config.model.head.update(dict(dropout=dropout, deviation=deviation))
    config.evaluate_every = config.checkpoint_every = each
    return configs.lock(config)
