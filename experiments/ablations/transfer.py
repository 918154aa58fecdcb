r"""What real Kinetics-400 weights are worth on few clips: the claim of I3D's table 4, in small.

  vmmjax prepare --source=fights/manifest.csv --store=stores/fights_128 --columns=rgb --short_side=128
  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid_224 --columns=rgb --short_side=224
  vmmjax convert i3d_rgb_kinetics400 --output=runs/kinetics400/i3d_rgb
  vmmjax ablate --rows=experiments/ablations/transfer.py --workdir=runs/transfer

I3D of full width on 8 pictures of 112 x 112: fights, and the command of a GRID sentence, in .64 s. `fixed` trains a
new linear head on the network's features, at 1e-2; `fine-tuned` all of it, at 3e-4 and the head at ten times that.
`LoRA` trains the head, the offsets of BatchNorm, and thin matrices beside the kernels, 4.5 % of the parameters, at
3e-3. `inflated` begins with Inception-V1 as it was trained here on one picture of each clip, the row above it, and is
trained as `fine-tuned`. From scratch (1e-3) the clip's mean picture is taken away, without which I3D learns nothing
from 110 clips. A clip is seen six times in training, a fight's single picture thirty times. A run takes one to three
minutes on one core, of the command up to twenty.
"""

from typing import Any

QUESTION = 'Does a network that knows Kinetics tell fights and words better than one that has seen these clips alone?'

_FOLDS = (0, 1, 2, 3, 4)
_SYSTEMS = 'experiments/configs/systems/'
# Of a hundred steps a slower average would remember little.
_I3D, _PICTURES = (dict(name=name, bn_momentum=0.95) for name in ('i3d', 'inception_v1'))
_TASKS = {
    'fights': ('two_stream_i3d.py', 'rgb', {'data.store': 'stores/fights_128', 'steps': 80}),
    # The mouth and the chin, in as many pixels as they have; the command begins at 0.2 to 0.9 s, the median at 0.57.
    'command': ('i3d_tsm.py', 'i3d', {
        'data.store': 'stores/grid_224', 'data.streams.i3d.region': (0.45, 0.24, 0.97, 0.76),
        'data.window.seconds': 0.64, 'data.window.start': (0.13, 0.33), 'steps': 400}),
}


def _rows(task: str) -> dict[str, dict[str, Any]]:
    config, stream, own = _TASKS[task]
    preprocess, encoder = f'model.preprocess.{stream}', f'model.encoders.{stream}'

    def row(**changes: Any) -> dict[str, Any]:
        return dict(config=_SYSTEMS + config, folds=_FOLDS, against=f'{task}: from scratch', changes={
            'streams': stream, f'data.streams.{stream}.size': 112, f'data.streams.{stream}.frames': 8,
            'batch_size': 8, 'optimizer.lr.warmup_steps': 10, 'evaluate_every': 0, 'checkpoint_every': 40,
            encoder: _I3D, **own, **changes})

    begun = {'init_from.skip': ('head',), preprocess: 'signed'}
    kinetics = begun | {'init_from.workdir': 'runs/kinetics400/i3d_rgb'}
    if stream != 'rgb':
        kinetics['init_from.rename'] = ((f'encoders_{stream}/', 'encoders_rgb/'),)
    tuned = begun | {'optimizer.lr.peak': 3e-4, 'optimizer.multipliers': (('head', 10.0, 1.0),)}
    single = f'{task}: one picture'
    return {
        f'{task}: from scratch': row(),
        single: row(**{f'data.streams.{stream}.frames': 1, encoder: _PICTURES, preprocess: 'signed', 'batch_size': 32,
                       'steps': 100}),
        f'{task}: inflated': dict(row(**tuned | {'init_from.fit': (('encoders_.*/kernel', 'mean'),)}), begin=(single,)),
        f'{task}: Kinetics-400, fixed': row(**kinetics | {'model.fixed': (stream,), 'optimizer.lr.peak': 1e-2}),
        f'{task}: Kinetics-400, LoRA': row(**kinetics | {
            'optimizer.lr.peak': 3e-3, 'lora.rank': 8, 'lora.kernels': ('encoders_.*kernel$',),
            'lora.train': ('^head', 'batch_norm/')}),
        f'{task}: Kinetics-400, fine-tuned': row(**kinetics | tuned),
    }


ROWS = _rows('fights') | _rows('command')
