r"""A word of a GRID sentence from sound in noise and the lips that say it.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,waveform --short_side=160
  vmmjax train --config=experiments/configs/grid_noise.py:white --workdir=runs/noisy --config.data.fold=0
  vmmjax evaluate --workdir=runs/noisy --snr=10,5,0,-5,-10 --noise=white,babble

The target is the digit; `words` in the argument asks for all six words at once. `white` or `babble` trains in that
noise at -10 to 20 dB; without them training is clean, and all noise is new when it comes to the test. Each stream
alone and both, in one table:

  vmmjax ablate --rows=experiments/ablations/noise.py --workdir=runs/noise

Expected accuracy: not yet measured.
"""

from ml_collections import ConfigDict

from vmmjax import config as configs

WORDS = ('command', 'color', 'preposition', 'letter', 'digit', 'adverb')
ARGUMENTS = ('words', 'white', 'babble')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is some of `ARGUMENTS`, with commas between them."""
    chosen = configs.choices(arg, ARGUMENTS, 'grid_noise.py')
    config = configs.defaults()
    config.steps, config.batch_size = 500, 20
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 250, 250
    config.optimizer.options.weight_decay = 1e-2
    config.task.label_smoothing = 0.05
    config.data.store = 'stores/grid'
    config.data.target = WORDS if 'words' in chosen else 'digit'
    # The digit begins 1.0 to 2.0 s into the clip; a clip is 3 s long.
    config.data.window.seconds = 2.88 if 'words' in chosen else 1.28
    config.data.window.start = (0.0, 0.12) if 'words' in chosen else (0.9, 1.1)
    config.data.streams = dict(
        rgb=dict(modality='rgb', frames=72 if 'words' in chosen else 32, size=48, region=(0.54, 0.32, 0.86, 0.70)),
        waveform=dict(modality='waveform'))
    for noise in sorted(chosen & {'white', 'babble'}):
        config.data.streams.waveform.update(dict(noise=noise, snr=(-10.0, 20.0)))
    config.data.augment.update(dict(crop='centre', color=0.1))
    # Sound is learned ten times faster; where it is always there, the pictures learn nothing.
    config.data.dropout = dict(rgb=0.2, waveform=0.5)
    config.model.preprocess = dict(rgb='signed', waveform='log_mel')
    config.model.encoders = dict(rgb=dict(name='i3d', width_multiplier=0.125, bn_momentum=0.95),
                                 waveform=dict(name='conv2d_audio', bn_momentum=0.95))
    config.model.head.dropout = 0.3
    return configs.lock(config)
