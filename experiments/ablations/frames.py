r"""How many pictures, and how many a second: the command of a GRID sentence from the lips.

  vmmjax prepare --source=GRID/manifest.csv --store=stores/grid --columns=rgb,audio --short_side=160
  vmmjax ablate --rows=experiments/ablations/frames.py --workdir=runs/frames --folds=1,2

The network is I3D of an eighth of its width. Rows of 1.28 s see the whole command wherever it begins; those of 0.64 s
have as many pictures, twice as close, of half the time. A run takes one to five minutes on one core.
"""

from typing import Any

QUESTION = 'Is lip reading better with more pictures of the same time, and with as many pictures closer together?'


def _row(frames: int, **changes: Any) -> dict[str, Any]:
    return dict(config='experiments/configs/systems/i3d_tsm.py', folds=(0, 1, 2, 3, 4), changes={
        'streams': 'i3d', 'data.streams.i3d.frames': frames, **changes})


# The command begins at 0.2 to 0.9 s, the median at 0.57.
_CLOSE = {'data.window.seconds': 0.64, 'data.window.start': (0.13, 0.33)}

ROWS = {
    '16 pictures of 1.28 s: 12.5 a second': _row(16),
    '4 of 1.28 s: 3.1': _row(4),
    '8 of 1.28 s: 6.25': _row(8),
    '32 of 1.28 s: 25': _row(32),
    '8 of 0.64 s: 12.5': dict(_row(8, **_CLOSE), against='8 of 1.28 s: 6.25'),
    '16 of 0.64 s: 25': _row(16, **_CLOSE),
}
