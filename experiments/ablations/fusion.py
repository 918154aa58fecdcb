r"""Kinds of fusion on motion_sound, with both streams and with one withheld, and what dropping streams does.

  vmmjax prepare --source=synthetic:motion_sound --store=stores/motion_sound --columns=rgb,audio \
      --short_side=56 --fps=12.5
  vmmjax ablate --rows=experiments/ablations/fusion.py --workdir=runs/fusion

The pictures tell the motion, the sound the tone, and the eight classes are all pairs of them: with one stream withheld
a half of the answer can be known, and one class of two or of four is to be guessed. All kinds begin with the same two
encoders, which were trained alone, so that a kind is asked what it makes of what they know and not how soon they learn
beside it. The learning rate is a third of the config's, at which it was chance what learned the motion. A run takes one
to two minutes on one core.
"""

from typing import Any

QUESTION = ('Which fusion is best with both streams, which with one withheld, and is a stream that is sometimes '
            'dropped in training missed less in the test?')


def _row(steps: int, against: str, begin: tuple[str, ...] = (), **changes: Any) -> dict[str, Any]:
    return dict(config='experiments/configs/motion_sound.py', against=against, begin=begin, changes={
        'optimizer.lr.peak': 1e-3, 'steps': steps, 'evaluate_every': 0, 'checkpoint_every': 100, **changes})


def _kind(kind: str, against: str = 'concat', **changes: Any) -> dict[str, Any]:
    return _row(200, against, ('pictures', 'sound'), **{
        'model.fusion': dict(name=kind), 'init_from.skip': ('fusion', 'head'), **changes})


_KINDS = ('concat', 'tanh_concat', 'sum', 'weighted_average', 'gated', 'film', 'tensor', 'low_rank_tensor',
          'multiplicative', 'cross_attention', 'non_local', 'transformer', 'bottleneck', 'scores')

ROWS = {
    'pictures': _row(400, 'pictures', streams='rgb'),
    'sound': _row(200, 'sound', streams='audio'),
    **{kind: _kind(kind) for kind in _KINDS},
    **{f'{kind}, nothing dropped': _kind(kind, kind, **{'data.dropout': {}})
       for kind in ('concat', 'cross_attention', 'bottleneck')},
}
