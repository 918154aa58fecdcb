"""A column of features that were extracted before: a model trains on what a frozen network made of the clips."""

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.store import feature_files
from vmmjax.store.catalog import ClipInfo


@dataclasses.dataclass(frozen=True)
class Features:
    """What `vmmjax extract STORE` wrote, a frame a window. A class of one's own names the column and the folder:

        @dataclasses.dataclass(frozen=True)
        class Mine(Features):
            folder: str = 'features/grid'
            name: ClassVar[str] = 'mine'

    and `vmmjax prepare --source=... --store=... --columns=package.module:Mine`, with the source of the store that was
    extracted from, adds it to that store. Training augments nothing in it: the network saw the clips as in evaluation.

    Attributes:
      folder: of the features.
      endpoint: which of them; the mean is taken over all its axes but the last.
    """

    folder: str = ''
    endpoint: str = 'features'

    name: ClassVar[str]
    kind: ClassVar[str] = 'array'

    @property
    def rate(self) -> float:
        """Windows a second; 1 where a window is the whole clip."""
        return 1 / (feature_files.read_settings(Path(self.folder))['stride'] or 1.0)

    @property
    def shape(self) -> tuple[int, ...]:
        """The length of a vector."""
        return next(iter(_windows(self.folder, self.endpoint).values())).shape[1:]

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """Yields float32 (W, D); nothing of a clip without a window."""
        found = _windows(self.folder, self.endpoint)
        if clip.id in found:
            yield found[clip.id]


@functools.lru_cache(maxsize=4)
def _windows(folder: str, endpoint: str) -> dict[str, np.ndarray]:
    """The windows of each clip by its id, float32 (W, D)."""
    found = feature_files.read(Path(folder))
    if 'row' not in found:
        raise UserError(f'{folder} holds features of files; a column needs those of a store: `vmmjax extract STORE`.')
    if endpoint not in feature_files.endpoints(found):
        raise UserError(f'{folder} has no endpoint {endpoint!r}: '
                        f'{did_you_mean(endpoint, feature_files.endpoints(found))}.')
    _, first = np.unique(found['row'], return_index=True)
    ids = found['id'][first].tolist()
    if len(set(ids)) < len(ids):
        raise UserError(f'Several clips of {folder} have the same id, so that their features cannot be told apart; '
                        f'give the clips of the manifest ids of their own.')
    x = found[endpoint].reshape(len(found['row']), -1, found[endpoint].shape[-1]).mean(axis=1).astype(np.float32)
    return dict(zip(ids, np.split(x, first[1:]), strict=True))
