r"""The words of a GRID sentence from sound in noise and the lips that say it.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,waveform --short_side=160
  vmmjax train --config=experiments/configs/grid_noise.py:white --workdir=runs/noisy --config.data.fold=0
  vmmjax evaluate --workdir=runs/noisy --snr=10,5,0,-5,-10 --noise=white,babble

The targets are the six words. `white` or `babble` trains in that noise at -10 to 20 dB; without them training is clean,
and all noise is new when it comes to the test. Each stream alone and both, in one table:

  vmmjax ablate --rows=experiments/ablations/noise.py --workdir=runs/noise --snr=10,5,0,-5,-10 --noise=white,babble

Expected accuracy: not yet measured.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs

WORDS = ('command', 'color', 'preposition', 'letter', 'digit', 'adverb')
ARGUMENTS = ('white', 'babble')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty, `white` or `babble`."""
    chosen = configs.choices(arg, ARGUMENTS, 'grid_noise.py')
    config = configs.defaults()
    config.steps, config.batch_size = 300, 20
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 150, 150
    config.optimizer.lr.peak = 2e-3
    config.optimizer.options.weight_decay = 1e-2
    config.task.label_smoothing = 0.05
    config.data.store, config.data.target = 'stores/grid', WORDS
    config.data.fold_validates = False
    config.data.window.seconds, config.data.window.start = 2.88, (0.0, 0.12)
    config.data.streams = dict(rgb=dict(modality='rgb', frames=36, size=40, region=(0.56, 0.35, 0.86, 0.65)),
                               waveform=dict(modality='waveform'))
    for noise in sorted(chosen):
        config.data.streams.waveform.update(dict(noise=noise, snr=(-10.0, 20.0)))
    # Sound is learned ten times faster; where it is always there, the pictures learn nothing.
    config.data.dropout = dict(rgb=0.2, waveform=0.5)
    config.model.preprocess = dict(rgb='centred', waveform='log_mel')
    config.model.encoders = dict(rgb=dict(name='tdnn', pool=2),
                                 waveform=dict(name='conv2d_audio', widths=(8, 16, 32, 64), features=128,
                                               bn_momentum=0.95))
    return configs.lock(config)
