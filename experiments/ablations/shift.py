r"""TSM against TSN on motion_sound, where nothing but the order of the pictures tells left from right, up from down.

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio \
      --short_side=56 --fps=12.5
  vmmjax ablate --rows=experiments/ablations/shift.py --seeds=2 --metric=accuracy_motion --workdir=runs/shift
  vmmjax ablate --rows=experiments/ablations/shift.py --seeds=2 --metric=accuracy_sprite --workdir=runs/shift

All rows have as many parameters and multiplications, and learn two things at once: where the sprite goes, and whether
it is brighter than what is behind it, which any picture tells. The second command makes the table of that from the
same runs. A share is that of the channels that move, half of them in each direction but for the uni-directional row,
whose channels all come from the past, so that it can be streamed. With the clip's mean picture taken away all rows
with a shift learn in as many steps; at the config's learning rate, and without that, it was chance which of them did.
A run takes two minutes on one core.
"""

from typing import Any

QUESTION = ('Does the temporal shift help where order matters and not elsewhere, and how much must be shifted, where, '
            'and in which directions?')


def _row(**encoder: Any) -> dict[str, Any]:
    network = dict(name='tsm_resnet18', width_multiplier=0.25)
    return dict(config='experiments/configs/motion_sound.py', changes={
        'streams': 'rgb', 'data.target': ('motion', 'sprite'), 'data.parts': (), 'steps': 300, 'batch_size': 16,
        'evaluate_every': 150, 'checkpoint_every': 150, 'optimizer.lr.peak': 1e-3, 'model.preprocess.rgb': 'centred',
        'model.encoders.rgb': {**network, **encoder}})


ROWS = {
    'TSN': _row(name='tsn_resnet18'),
    # Of few channels a small share is none: 1/16 begins to move some where there are 32.
    'TSM, 1/16': _row(shift_div=32),
    'TSM, 1/8': _row(shift_div=16),
    'TSM, 1/4': _row(shift_div=8),
    'TSM, 1/2': _row(shift_div=4),
    'TSM, 1/4, in place': dict(_row(shift_div=8, shift_place='block'), against='TSM, 1/4'),
    'TSM, 1/8, uni-directional': dict(_row(shift_div=8, shift='uni'), against='TSM, 1/4'),
}
