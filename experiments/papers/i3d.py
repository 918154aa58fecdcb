r"""Two-stream I3D: Carreira and Zisserman, "Quo Vadis, Action Recognition? A New Model and the Kinetics Dataset", 2017.

  vmmjax train --config=experiments/papers/i3d.py:kinetics400,rgb --workdir=runs/papers/i3d/kinetics400_rgb

experiments/papers/README.md has the commands of every row, the published figures and the cost; `ROWS` names the rows.
A row is a data set (kinetics400, kinetics600, ucf101 or hmdb51), `imagenet` where it begins with the weights of
Inception-V1, of UCF101 and HMDB51 how they are trained (`original`: on their own clips alone; `fixed`: the network of
Kinetics-400 as it is, with a new last layer; `full`: all of it trained further), and a stream. `both` is not trained:
the logits of the two streams are added.

Published are the optimizer, the batch, steps and learning rates on Kinetics-400 (the README of kinetics-i3d) and, for
UCF101 and HMDB51, "up to 5k steps ... using a similar learning rate adaptation procedure" on 16 GPUs (section 2.5).
Not published, and chosen here: what those learning rates are (Kinetics' own, falling at the same shares of 5,000 steps,
with its 6 clips a GPU), and everything of Kinetics-600 but its released weights (Kinetics-400's schedule).
"""

from typing import Any

from ml_collections import ConfigDict

from vmmjax import config as configs
from vmmjax.errors import UserError, did_you_mean

_README, _PAPER = 'README of google-deepmind/kinetics-i3d', 'Carreira and Zisserman 2017'
_RUNS = 'runs/papers/i3d/'
STORES = {
    'stores/kinetics400': "--source='kinetics:kinetics400/*.csv' --media=kinetics400 --columns=rgb,flow --fps=25 "
                          '--short_side=256 --flow=tv_l1_jax',
    'stores/kinetics600': "--source='kinetics:kinetics600/*.csv' --media=kinetics600 --columns=rgb --fps=25 "
                          '--short_side=256',
    'stores/ucf101_1': '--source=ucf101:ucfTrainTestlist/trainlist01.txt,ucfTrainTestlist/testlist01.txt '
                       '--media=UCF-101 --columns=rgb,flow --fps=25 --short_side=256 --flow=tv_l1_jax',
    'stores/hmdb51_1': "--source='hmdb51:testTrainMulti_7030_splits/*_test_split1.txt' --media=hmdb51 "
                       '--columns=rgb,flow --fps=25 --short_side=256 --flow=tv_l1_jax',
}
STARTS = {f'runs/papers/imagenet/i3d_{stream}': f'vmmjax convert inception_v1.ckpt --name=i3d --stream={stream} '
          f"--channels={channels} --num_classes=0 --allow_unused='.*Logits.*' "
          f'--output=runs/papers/imagenet/i3d_{stream}'
          for stream, channels in (('rgb', 3), ('flow', 2))}

# (data set, start, how) -> figures of rgb, flow and both, by name; None where there is none.
_FIGURES: dict[tuple[str, str, str], tuple[str, dict[str, tuple[float | None, float | None, float | None]]]] = {
    ('kinetics400', 'imagenet', ''): (_README, {'top-1': (71.1, 63.4, 74.2), 'top-5': (89.3, 84.9, 91.3)}),
    ('kinetics400', '', ''): (_README, {'top-1': (68.4, 61.5, 71.6), 'top-5': (88.0, 83.4, 90.0)}),
    ('ucf101', 'imagenet', 'original'): (f'{_PAPER}, table 2', {'split 1': (84.5, 90.6, 93.4)}),
    ('ucf101', '', 'original'): (f'{_PAPER}, table 4', {'split 1': (None, None, 88.8)}),
    ('ucf101', 'imagenet', 'fixed'): (f'{_PAPER}, table 4', {'split 1': (None, None, 97.7)}),
    ('ucf101', '', 'fixed'): (f'{_PAPER}, table 4', {'split 1': (None, None, 97.4)}),
    ('ucf101', 'imagenet', 'full'): (f'{_PAPER}, tables 4 and 5', {
        'split 1': (None, None, 98.0), 'three splits': (95.6, 96.7, 98.0)}),
    ('ucf101', '', 'full'): (f'{_PAPER}, tables 4 and 5', {
        'split 1': (None, None, 97.6), 'three splits': (95.1, 96.5, 97.8)}),
    ('hmdb51', 'imagenet', 'original'): (f'{_PAPER}, table 2', {'split 1': (49.8, 61.9, 66.4)}),
    ('hmdb51', '', 'original'): (f'{_PAPER}, table 4', {'split 1': (None, None, 62.2)}),
    ('hmdb51', 'imagenet', 'fixed'): (f'{_PAPER}, table 4', {'split 1': (None, None, 79.7)}),
    ('hmdb51', '', 'fixed'): (f'{_PAPER}, table 4', {'split 1': (None, None, 78.6)}),
    ('hmdb51', 'imagenet', 'full'): (f'{_PAPER}, tables 4 and 5', {
        'split 1': (None, None, 81.2), 'three splits': (74.8, 77.1, 80.7)}),
    ('hmdb51', '', 'full'): (f'{_PAPER}, tables 4 and 5', {
        'split 1': (None, None, 81.3), 'three splits': (74.3, 77.3, 80.9)}),
}
_CLASSES = {'kinetics400': 400, 'kinetics600': 600, 'ucf101': 101, 'hmdb51': 51}
_DIFFERS = ('Short clips are masked where they end and not played again; BatchNorm sees the whole batch and not the 6 '
            'clips of a replica.')
_AGAIN = ' The second 40,000 steps begin with zero momentum.'


def _test(stream: str) -> dict[str, Any]:
    # Section 2.5: convolutionally over the whole video, the middle; of long ones the first 250 frames (issue 28 of
    # kinetics-i3d).
    return {'data.window.seconds': 10.0, 'data.window.start': (0.0, 0.0), f'data.streams.{stream}.frames': 250}


def _name(*parts: str) -> str:
    return ','.join(filter(None, parts))


def _row(dataset: str, start: str, how: str, stream: str) -> dict[str, Any]:
    source, figures = _FIGURES.get((dataset, start, how), ('', {}))
    place = ('rgb', 'flow', 'both').index(stream)
    found = {name: values[place] for name, values in figures.items() if values[place] is not None}
    many = '; of three splits: the mean, with stores of the splits 2 and 3' if 'three splits' in found else ''
    row: dict[str, Any] = dict(classes=_CLASSES[dataset], source=source if found else '', differs=_DIFFERS)
    if stream == 'both':
        return row | dict(fuse=tuple(_name(dataset, start, how, each) for each in ('rgb', 'flow')),
                          tests={f'the logits of both are added{many}': ({}, found)})
    if dataset == 'kinetics400':
        # Variables of the released checkpoints without running statistics; products on 64 x 224 x 224.
        row |= dict(parameters=12.690 if stream == 'rgb' else 12.668, gmacs=111.15 if stream == 'rgb' else 102.34,
                    counted="the authors' network, counted")
        if stream == 'flow':
            row['differs'] += _AGAIN
    protocol = f'whole video at 25 a second (250 pictures), centre of 224{many}'
    return row | dict(tests={protocol: (_test(stream), found)})


def _rows() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {}
    for start in ('imagenet', ''):
        found[_name('kinetics400', start, 'flow', 'first')] = dict(
            classes=400, tests={}, differs='The first 115,000 of the 155,000 steps of the flow stream.')
    for dataset, start, how in [*_FIGURES]:
        for stream in ('rgb', 'flow', 'both'):
            found[_name(dataset, start, how, stream)] = _row(dataset, start, how, stream)
    # The repository has the weights, and no figure; none could be confirmed elsewhere.
    found['kinetics600,rgb'] = _row('kinetics600', '', '', 'rgb')
    return found


ROWS = _rows()


def get_config(arg: str = 'kinetics400,rgb') -> ConfigDict:
    """The config of a row of `ROWS`."""
    if arg not in ROWS or 'fuse' in ROWS[arg]:
        trained = [name for name, row in ROWS.items() if 'fuse' not in row]
        raise UserError(f'i3d.py has no row {arg!r} that is trained: {did_you_mean(arg, trained)}.')
    parts = arg.split(',')
    dataset, stream = parts[0], 'flow' if 'flow' in parts else 'rgb'
    start = 'imagenet' if 'imagenet' in parts else ''
    config = configs.defaults()
    config.log_every = 100
    # README of kinetics-i3d: SGD, momentum .9, weight decay 1e-7, 64 replicas of 6 clips, no clipping.
    config.optimizer.update(dict(name='sgd', options=dict(momentum=0.9, weight_decay=1e-7), clip=0.0))
    config.optimizer.lr.update(dict(peak=0.1, warmup_steps=0, schedule='step', factor=0.1))
    config.batch_size = 384
    # 0 to 97k at .1, to 108k at .01, to 115k at .001.
    config.steps, config.optimizer.lr.milestones = 115_000, (97_000, 108_000)
    if stream == 'flow':
        # The same to 97k, 104.5k and 115k; then from the start: .1 to 140k, .01 to 150k, .001 to 155k.
        config.optimizer.lr.milestones = (97_000, 104_500)
        if dataset == 'kinetics400' and 'first' not in parts:
            config.steps, config.optimizer.lr.milestones = 40_000, (25_000, 35_000)
    config.data.store = f'stores/{dataset}' if 'kinetics' in dataset else f'stores/{dataset}_1'
    # Section 2.5: 64 pictures that follow each other, short side 256, a random 224 x 224, mirrored at random.
    config.data.window.seconds = 2.56
    config.data.streams = {stream: dict(modality=stream, frames=64, sampling='strided', size=224)}
    config.data.augment.flip = 0.5
    config.model.preprocess = {stream: 'signed' if stream == 'rgb' else 'flow'}
    config.model.encoders = {stream: dict(name='i3d', remat=True)}
    if dataset in ('ucf101', 'hmdb51'):
        config.batch_size, config.steps = 96, 5000  # 16 GPUs.
        config.optimizer.lr.milestones = (4200, 4700)
        if 'original' not in parts:
            config.init_from.workdir = _RUNS + _name('kinetics400', start, stream).replace(',', '_')
            config.init_from.skip = ('head',)
        elif start:
            _imagenet(config, stream)
        if 'fixed' in parts:
            config.model.fixed = (stream,)
    elif stream == 'flow' and 'first' not in parts:
        config.init_from.workdir = _RUNS + _name('kinetics400', start, 'flow', 'first').replace(',', '_')
    elif start:
        _imagenet(config, stream)
    config.evaluate_every = config.checkpoint_every = min(5000, config.steps)
    return configs.lock(config)


def _imagenet(config: ConfigDict, stream: str) -> None:
    config.init_from.workdir, config.init_from.skip = f'runs/papers/imagenet/i3d_{stream}', ('head',)
