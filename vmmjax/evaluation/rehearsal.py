"""What an evaluation will be like, before anything is computed: whether its clips have targets, what is measured."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vmmjax.evaluation import intervals
from vmmjax.evaluation.predictions import Predictions, predict
from vmmjax.pipeline.targets import Targets, of_split
from vmmjax.store.store import Store

_LEAST_PRECISION = 0.1  # Half the interval of an accuracy; of a split that gives less it is said.


def rehearsed(store: Store, split: str, targets: Targets, streams: Sequence[str], scores: Any, *,
              target: str | Sequence[str], each_view: bool = False) -> Predictions:
    """The predictions of a split with scores of 1, as of a model that was not asked; all streams are there.

    Args:
      store: the clips'.
      split: of it.
      targets: of the clips.
      streams: the model's.
      scores: a tree of arrays or shapes (B, ...), as the evaluation step gives them.
      target: see `predict`.
      each_view: see `predict`; every clip has one view here.

    Raises:
      UserError: where no clip of the split has a target.
    """
    rows = np.asarray(store.rows(split), np.int32)
    there = np.ones(len(rows), bool)
    batch = {'id': rows, 'mask': there, **{f'present/{stream}': there for stream in streams},
             **{f'target/{name}': values for name, values in of_split(targets, store, split).items()}}
    ones = jax.tree.map(lambda leaf: np.ones((len(rows), *leaf.shape[1:]), leaf.dtype), scores)
    return predict(lambda *_: ones, None, None, [batch], streams, put=dict, target=target, each_view=each_view)


def remark_on_size(clips: int, split: str = 'validation') -> str:
    """A sentence where a split is too small to choose by, of 92 clips or fewer; else nothing.

    The number in it is half of Wilson's interval of an accuracy of 50 % on independent clips; that of clips in groups
    is wider.

    Args:
      clips: of the split, 1 or more.
      split: its name.
    """
    right = np.arange(clips) % 2
    found = intervals.proportion(right)
    half = (found.high - found.low) / 2
    if half <= _LEAST_PRECISION:
        return ''
    return (f'The {split} split has {clips} clip{"s" * (clips > 1)}: an accuracy on it is known to {100 * half:.0f} '
            f'points at best (95 % CI), too little to choose a rate or a network by; compare those over folds '
            f'(`vmmjax ablate --folds`).')
