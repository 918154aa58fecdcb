"""A share of the training clips as those that are labelled, to ask how much labels are needed."""

import copy
import math
from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from vmmjax.errors import UserError
from vmmjax.store.store import Store


def labelled(store: Store, columns: Sequence[str], share: float, seed: int) -> np.ndarray:
    """Rows of the training split that are labelled, where a share of them is.

    Each class has its share, to within one clip, and the drawn clips of a smaller share are among those of a larger
    one. A class of fewer than 1 / share clips may have none. With several columns the classes are their combinations.

    Args:
      store: with a split `train`.
      columns: of the targets; clips without any value are not labelled, and count nowhere.
      share: above 0, at most 1, of the clips that have a label; rounded, at least one clip.
      seed: of the draw.

    Returns:
      int64, in the order of the split.

    Raises:
      UserError: for another share, and where no clip has a label.
    """
    if not 0 < share <= 1:
        raise UserError(f'data.labels_share is {share}; a share above 0 and at most 1 is meant.')
    values = [store.values(column) for column in columns]
    classes: dict[tuple[str, ...], list[int]] = defaultdict(list)
    for row in np.asarray(store.rows('train')).tolist():
        if any(value := tuple(str(column[row]) for column in values)):
            classes[value].append(row)
    if not classes:
        raise UserError(f'data.labels_share is {share}, and no training clip of the store {store.name} has a value of '
                        f'{", ".join(columns)}.')
    generator = np.random.default_rng(seed)
    # How early a clip is drawn: the k-th of a class of n, in random order, at (k + u) / n.
    when: dict[int, float] = {}
    for value in sorted(classes):
        rows = generator.permutation(classes[value])
        when |= dict(zip(rows.tolist(), (np.arange(len(rows)) + generator.random()) / len(rows), strict=True))
    count = max(1, math.floor(share * len(when) + 0.5))
    return np.sort(sorted(when, key=lambda row: (when[row], row))[:count])


def with_few_labels(store: Store, columns: Sequence[str], share: float, seed: int) -> Store:
    """The store with its `labelled` clips alone as training split; as it is for a share of 1, or without that split."""
    if share == 1 or 'train' not in store.splits:
        return store
    made = copy.copy(store)
    made.splits = {**store.splits, 'train': labelled(store, columns, share, seed)}
    return made
