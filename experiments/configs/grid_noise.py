r"""The words of a GRID sentence from sound in noise and the lips that say it.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,waveform --short_side=160
  vmmjax train --config=experiments/configs/grid_noise.py:white --workdir=runs/noisy --config.data.fold=0
  vmmjax evaluate --workdir=runs/noisy --snr=10,5,0,-5,-10 --noise=white,babble

The targets are the six words. `white` or `babble` trains in that noise at -10 to 20 dB; without them training is clean,
and all noise is new when it comes to the test. `fused` trains no more than what joins two encoders that were trained
before, one run a stream, named by --config.init_from.workdir=runs/sound,runs/pictures. All of it, in one table:

  vmmjax ablate --rows=experiments/ablations/noise.py --workdir=runs/noise --snr=10,5,0,-5,-10 --noise=white,babble

Expected accuracy of the words, five folds: without noise sound 83 %, pictures 50 %, both 84 %; at 0 dB of white noise,
trained in it, sound 58 %, both 66 % (experiments/results/noise.md has all).
"""

from ml_collections import ConfigDict

from vmmjax import config as configs

WORDS = ('command', 'color', 'preposition', 'letter', 'digit', 'adverb')
ARGUMENTS = ('white', 'babble', 'fused')


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is some of `ARGUMENTS`, with commas between them."""
    chosen = configs.choices(arg, ARGUMENTS, 'grid_noise.py')
    config = configs.defaults()
    config.steps, config.batch_size = 600, 20
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 300, 300
    config.optimizer.lr.peak = 2e-3
    config.optimizer.options.weight_decay = 1e-2
    config.task.label_smoothing = 0.05
    config.data.store, config.data.target = 'stores/grid', WORDS
    config.data.fold_validates = False
    config.data.window.seconds, config.data.window.start = 2.88, (0.0, 0.12)
    config.data.streams = dict(rgb=dict(modality='rgb', frames=36, size=40, region=(0.56, 0.35, 0.86, 0.65)),
                               waveform=dict(modality='waveform'))
    for noise in sorted(chosen & {'white', 'babble'}):
        config.data.streams.waveform.update(dict(noise=noise, snr=(-10.0, 20.0)))
    config.model.preprocess = dict(rgb='centred', waveform='log_mel')
    config.model.encoders = dict(rgb=dict(name='tdnn', pool=2),
                                 waveform=dict(name='conv2d_audio', bn_momentum=0.95))
    # Each by itself now and then, so that one is enough.
    config.data.dropout = dict(rgb=0.3, waveform=0.3)
    if 'fused' in chosen:
        config.steps = 600
        config.model.fusion = dict(name='gated', features=256)
        config.init_from.skip = ('head', 'fusion')
        config.model.fixed = ('rgb', 'waveform')
    return configs.lock(config)
