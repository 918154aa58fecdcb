"""What an evaluation will be like, before anything is computed: whether its clips have targets, what is measured."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from vmmjax.evaluation.predictions import Predictions, predict
from vmmjax.pipeline.targets import Targets, of_split
from vmmjax.store.store import Store


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
