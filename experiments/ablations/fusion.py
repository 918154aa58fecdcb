r"""Kinds of fusion on motion_sound, with both streams and with one withheld, and what dropping streams does.

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio \
      --short_side=56 --fps=12.5
  vmmjax ablate --rows=experiments/ablations/fusion.py --workdir=runs/fusion

The pictures tell the motion, the sound the tone, and the eight classes are all pairs of them: with one stream withheld
a half of the answer can be known, and one class of two or of four is to be guessed. The learning rate is a third of the
config's, at which sums, averages and FiLM do not learn the motion in as many steps. A run takes three minutes on one
core.
"""

from typing import Any

QUESTION = ('Which fusion is best with both streams, which with one withheld, and is a stream that is sometimes '
            'dropped in training missed less in the test?')


def _row(kind: str, **changes: Any) -> dict[str, Any]:
    return dict(config='experiments/configs/motion_sound.py', changes={
        'model.fusion': dict(name=kind), 'optimizer.lr.peak': 1e-3, 'steps': 400, 'evaluate_every': 200,
        'checkpoint_every': 200, **changes})


_KEPT = {'data.dropout': {}}

ROWS = {
    'concat': _row('concat'),
    **{kind: _row(kind) for kind in (
        'tanh_concat', 'sum', 'weighted_average', 'gated', 'film', 'tensor', 'low_rank_tensor', 'multiplicative',
        'cross_attention', 'non_local', 'transformer', 'bottleneck', 'scores')},
    **{f'{kind}, nothing dropped': dict(_row(kind, **_KEPT), against=kind)
       for kind in ('concat', 'bottleneck')},
}
