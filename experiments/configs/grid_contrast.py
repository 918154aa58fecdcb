r"""Sound teaches lips: which sound belongs to which pictures of a mouth, learned without a label.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax train --config=experiments/configs/grid_contrast.py --workdir=runs/contrast --config.data.fold=0

Two windows of .64 s are drawn from each sentence; a window's pictures and its sound belong together, and the other
window is a wrong answer as other sentences are. `grid_contrast.py:lips` compares two augmented views of the pictures
alone, `sentence` has the encoders of `grid_sentence.py:local`. Evaluation finds the sound of a window among those of
the split (recall@1, 5, 10), and back. What was learned is taken over by a run that tells words:

  vmmjax train --config=experiments/configs/grid_command.py:rgb --workdir=runs/command \
      --config.init_from.workdir=runs/contrast --config.init_from.skip="('head',)"

The encoders are those of grid_command.py, unless `sentence` is given.
"""

from pathlib import Path

from ml_collections import ConfigDict

from vmmjax import config as configs

WINDOWS = 2


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is empty, or some of `lips` (two views of RGB alone) and `sentence`, with commas."""
    chosen = configs.choices(arg, ('lips', 'sentence'), 'grid_contrast.py')
    lips = 'lips' in chosen
    config = configs.defaults()
    config.steps, config.batch_size = 2000, 24
    config.log_every, config.evaluate_every, config.checkpoint_every = 25, 400, 400
    config.optimizer.lr.peak = 1e-3
    config.optimizer.options.weight_decay = 1e-2
    config.task = dict(name='contrastive', streams=('rgb', 'rgb@1') if lips else ('rgb', 'audio'), hidden=(256,))
    config.data.store = 'stores/grid'
    config.data.window.seconds = 0.64
    # Of 20 sentences 19 are spoken between .2 and 2.4 s.
    config.data.window.start = (0.5, 1.7)
    config.data.streams.rgb = dict(modality='rgb', frames=16, size=48, region=(0.54, 0.32, 0.86, 0.70), views=2)
    config.data.augment.update(dict(crop='centre', color=0.2))
    config.model.preprocess.rgb = 'signed'
    config.model.encoders.rgb = dict(name='i3d', width_multiplier=0.125, bn_momentum=0.95)
    if lips:
        config.data.views.clips = 2
    else:
        config.task.update(dict(windows=WINDOWS, other_windows='negatives'))
        config.data.streams.rgb.share = ()
        config.data.streams.audio = dict(modality='audio', views=WINDOWS, share=())
        config.model.preprocess.audio = 'none'
        config.model.encoders.audio = dict(name='conv2d_audio', bn_momentum=0.95)
    if 'sentence' in chosen:
        local = configs.load(Path(__file__).with_name('grid_sentence.py')).get_config('audio,rgb,local')
        config.batch_size = 32
        config.data.streams.rgb.update({name: local.data.streams.rgb[name] for name in ('size', 'region')})
        for part in ('preprocess', 'encoders'):
            config.model[part] = {name: local.model[part][name] for name in config.model[part]}
    return configs.lock(config)
