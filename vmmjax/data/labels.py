"""The targets of clips: values of a catalog column as numbers."""

from collections.abc import Sequence

import numpy as np

from vmmjax.data.store import Store
from vmmjax.errors import UserError, did_you_mean


class Labels:
    """The target of each catalog row.

    Attributes:
      classes: sorted values; a target is an index into them.
    """

    def __init__(self, store: Store, column: str, flip_pairs: Sequence[tuple[str, str]]):
        """Reads the catalog.

        Args:
          store: the store.
          column: of its catalog.
          flip_pairs: pairs of values that a mirror image swaps.

        Raises:
          UserError: for a column or a value that is not there.
        """
        self.classes = store.classes(column)
        codes = {value: code for code, value in enumerate(self.classes)} | {'': -1}
        self._targets = np.array([codes[value] for value in store.values(column).tolist()])
        self._mirrored = np.append(np.arange(len(self.classes)), -1)  # The last is that of -1, no target.
        for pair in flip_pairs:
            for name in pair:
                if name not in self.classes:
                    raise UserError(f'data.augment.flip_pairs names {name!r}, which is no value of {column!r}: '
                                    f'{did_you_mean(name, self.classes)}.')
            left, right = map(self.classes.index, pair)
            self._mirrored[[left, right]] = right, left

    def of(self, rows: np.ndarray, mirrors: np.ndarray) -> np.ndarray:
        """Targets, int64 (B,), of rows int64 (B,), some of them mirrored, bool (B,); -1 where there is none."""
        targets = self._targets[rows]
        return np.where(mirrors, self._mirrored[targets], targets)
