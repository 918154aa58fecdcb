r"""Pictures and motion on fights, trained together and apart, with the motion of four algorithms.

  for flow in tv_l1 tv_l1_jax farneback dis; do
    vmmjax prepare --source=fights/manifest.csv --store=stores/fights_$flow --columns=rgb,flow,audio \
      --short_side=64 --flow=$flow
  done
  vmmjax ablate --rows=experiments/ablations/two_stream.py --workdir=runs/two_stream --folds=1,2

Late fusion is no row, as nothing is trained for it: `vmmjax evaluate --fuse` adds the scores of two rows. OpenCV's
TV-L1 takes seven seconds a clip to prepare. A run takes two to four minutes on one core.
"""

from typing import Any

QUESTION = ('Do pictures and motion together tell more of fights than either, and does it matter which algorithm found '
            'the motion?')


def _row(flow: str = 'tv_l1_jax', **changes: Any) -> dict[str, Any]:
    return dict(config='experiments/configs/systems/two_stream_i3d.py', folds=(0, 1, 2, 3, 4), changes={
        'data.store': f'stores/fights_{flow}', **changes})


ROWS = {
    'pictures': _row(streams='rgb'),
    'motion: TV-L1 on JAX': _row(streams='flow'),
    'motion: TV-L1 of OpenCV': dict(_row('tv_l1', streams='flow'), against='motion: TV-L1 on JAX'),
    'motion: Farneback': dict(_row('farneback', streams='flow'), against='motion: TV-L1 on JAX'),
    'motion: DIS': dict(_row('dis', streams='flow'), against='motion: TV-L1 on JAX'),
    'pictures + motion, trained together': _row(),
}
