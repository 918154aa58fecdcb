"""A column of frames that say nothing, for clips that have sound alone."""

import dataclasses
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from vmmjax.prepare.columns import Rgb
from vmmjax.store.catalog import ClipInfo


@dataclasses.dataclass(frozen=True)
class NoiseFrames(Rgb):
    """Random pixels in place of RGB frames, square, drawn from the clip's name."""

    fps: float = 2.0
    short_side: int = 32

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """Yields uint8 (T, short_side, short_side, 3)."""
        yield np.random.default_rng(zlib.crc32(clip.path.encode())).integers(
            0, 256, (self.count(clip), self.short_side, self.short_side, 3), dtype=np.uint8)

    def count(self, clip: ClipInfo) -> int:
        """See `Counted`."""
        return max(1, round(clip.duration * self.fps))
