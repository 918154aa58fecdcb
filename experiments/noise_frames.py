"""A column of frames that say nothing, for clips that have sound alone."""

import dataclasses
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np

from vmmjax.store.catalog import ClipInfo


@dataclasses.dataclass(frozen=True)
class NoiseFrames:
    """Frames that say nothing: random pixels, drawn from the clip's name.

    Attributes:
      fps: frames a second.
      side: pixels.
    """

    fps: float = 2.0
    side: int = 32

    name: ClassVar[str] = 'rgb'
    kind: ClassVar[str] = 'picture'

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.fps

    @property
    def shape(self) -> tuple[int, ...]:
        """Empty: the column holds pictures."""
        return ()

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """Yields uint8 (T, side, side, 3)."""
        frames = max(1, round(clip.duration * self.fps))
        yield np.random.default_rng(zlib.crc32(clip.path.encode())).integers(
            0, 256, (frames, self.side, self.side, 3), dtype=np.uint8)
