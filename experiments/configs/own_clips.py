r"""Your own clips: I3D with Kinetics-400 weights on frames, where asked for on motion, and a small network on sound.

  vmmjax convert i3d_rgb_kinetics400 --output=runs/kinetics400/i3d_rgb
  vmmjax prepare --source=manifest.csv --store=stores/mine --columns=rgb,audio --short_side=128
  vmmjax train --config=experiments/configs/own_clips.py:rgb --workdir=runs/mine/rgb --config.data.target=label
  vmmjax train --config=experiments/configs/own_clips.py:audio --workdir=runs/mine/audio --config.data.target=label

The argument has the streams (`rgb` unless given, `flow`, `audio`) and about how many clips there are to train on:
`50`, `500` (unless given) or `5000`, such as `own_clips.py:rgb,50`. Each stream is trained alone and its best step by
the loss on the validation split is kept, for `vmmjax evaluate --best`; then `vmmjax evaluate --fuse --weights=fit`
combines their scores, which lost nothing to the best stream where it was measured (docs/training.md, "Your own clips";
experiments/results/late_fusion.md). Several streams in one run, such as `own_clips.py:rgb,audio`, have a head each,
whose logits are added; it is to be compared with that.

Frames are spread over the whole clip, whatever its length. With sound the window is 4 s, of which three are averaged
in evaluation; for shorter clips set --config.data.window.seconds to their length. `flow` begins with the weights of
frames, their first layer with its mean over the three channels (Wang et al. 2016, section 3.2):

  vmmjax convert i3d_rgb_kinetics400 --stream=flow --channels=2 --output=runs/kinetics400/i3d_flow
"""

from ml_collections import ConfigDict

from vmmjax import config as configs

STREAMS = ('rgb', 'flow', 'audio')
# By the number of training clips: steps of a network with weights, steps of one without, batch.
SIZES = {'50': (64, 304, 8), '500': (400, 800, 8), '5000': (2400, 4000, 16)}
WEIGHTS = 'runs/kinetics400/i3d_{}'
_EVALUATIONS = 8


def get_config(arg: str = '') -> ConfigDict:
    """The config; `arg` is some of `STREAMS` and one of `SIZES`, with commas between them."""
    chosen = configs.choices(arg, (*STREAMS, *SIZES), 'own_clips.py')
    streams = [name for name in STREAMS if name in chosen] or ['rgb']
    seen = [name for name in streams if name != 'audio']
    fine_tuned, from_scratch, batch = SIZES[next((size for size in SIZES if size in chosen), '500')]
    config = configs.defaults()
    config.steps, config.batch_size = fine_tuned if seen else from_scratch, batch
    config.evaluate_every = config.checkpoint_every = config.steps // _EVALUATIONS
    config.log_every = 10
    config.best.update(dict(metric='validation/loss', mode='min', patience=4))
    config.optimizer.options.weight_decay = 1e-2
    config.optimizer.lr.warmup_steps = config.steps // 10
    config.task.label_smoothing = 0.05
    config.data.store = 'stores/mine'
    config.data.window.seconds = 0.0
    config.data.augment.color = 0.1  # No flip: what is said of left and right would no longer hold.
    # A slower average would remember little of a few hundred steps.
    network = dict(name='i3d', bn_momentum=0.95)
    config.data.streams = {name: dict(modality=name, frames=16, sampling='segments', size=112) for name in seen}
    config.model.preprocess = {name: dict(rgb='signed', flow='flow')[name] for name in seen}
    config.model.encoders = dict.fromkeys(seen, network)
    config.model.head.dropout = 0.3
    if seen:  # Rates of experiments/ablations/transfer.py; what is new is learned ten times faster.
        config.optimizer.lr.peak = 3e-4
        config.optimizer.multipliers = (('head|encoders_audio', 10.0, 1.0),)
        config.init_from.workdir = ','.join(WEIGHTS.format(name) for name in seen)
        config.init_from.skip = ('head',)
    if 'audio' in streams:
        config.data.window.seconds, config.data.views.clips = 4.0, 3
        config.data.streams.audio = dict(modality='audio')
        config.data.augment.update(dict(time_shift=0.5, spec_augment=(1, 20, 1, 6)))
        config.model.preprocess.audio = 'none'
        config.model.encoders.audio = dict(name='panns_resnet22', width_multiplier=0.125, features=256)
        if seen:
            config.init_from.skip = ('head', 'encoders_audio')
        else:
            config.optimizer.lr.peak = 5e-3
    if len(streams) > 1:
        config.data.dropout = dict.fromkeys(streams, 0.3)
        config.model.fusion = dict(name='scores', combine='sum')
    return configs.lock(config)
