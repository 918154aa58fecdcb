r"""What real Kinetics-400 weights are worth on fights: the claim of I3D's table 4, in small.

  vmmjax prepare --source=fights/manifest.csv --store=stores/fights_128 --columns=rgb --short_side=128
  vmmjax convert i3d_rgb_kinetics400 --output=runs/kinetics400/i3d_rgb
  vmmjax ablate --rows=experiments/ablations/transfer.py --workdir=runs/transfer --folds=1,2

I3D of full width on 16 pictures of 112 x 112. `fixed` trains a new linear head on the network's features, `fine-tuned`
all of it, at a tenth of the learning rate. From scratch the clip's mean picture is taken away, without which it
learns nothing from 110 clips. A run takes five to twelve minutes on one core.
"""

from typing import Any

QUESTION = 'Does a network that knows Kinetics tell fights better than one that has seen them alone?'


def _row(**changes: Any) -> dict[str, Any]:
    return dict(config='experiments/configs/systems/two_stream_i3d.py', folds=(0, 1, 2, 3, 4), changes={
        'streams': 'rgb', 'data.store': 'stores/fights_128', 'data.streams.rgb.size': 112, 'steps': 80,
        'batch_size': 8, 'evaluate_every': 0, 'checkpoint_every': 40, 'model.encoders.rgb': dict(name='i3d'),
        **changes})


_KINETICS = {'init_from.workdir': 'runs/kinetics400/i3d_rgb', 'init_from.skip': ('head',),
             'model.preprocess.rgb': 'signed'}

ROWS = {
    'from scratch': _row(),
    'Kinetics-400, fixed': _row(**_KINETICS, **{'model.fixed': ('rgb',)}),
    'Kinetics-400, fine-tuned': _row(**_KINETICS, **{'optimizer.lr.peak': 1e-4}),
}
