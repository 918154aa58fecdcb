"""The newest frames of a column."""

import collections
from typing import Any

import numpy as np


class Ring:
    """Frames that follow each other, by their number: the time in seconds times the column's rate.

    Attributes:
      first: number of the oldest that is kept.
      end: number after the newest.
    """

    def __init__(self) -> None:
        """Holds nothing."""
        self.first = self.end = 0
        self._blocks: collections.deque[tuple[int, Any]] = collections.deque()

    def add(self, number: int, frames: Any) -> None:
        """Adds frames, a list or an array; those that do not follow the ones before replace them."""
        if not len(frames):
            return
        if number != self.end:
            self._blocks.clear()
            self.first = number
        self._blocks.append((number, frames))
        self.end = number + len(frames)

    def forget(self, number: int) -> None:
        """Drops what lies before a number."""
        while self._blocks and self._blocks[0][0] + len(self._blocks[0][1]) <= number:
            begin, frames = self._blocks.popleft()
            self.first = begin + len(frames)

    def take(self, begin: int, end: int) -> tuple[int, Any]:
        """Those of the frames from `begin` up to `end` that are here: the number of the first, and they."""
        begin, end = max(begin, self.first), min(end, self.end)
        parts = [frames[max(0, begin - number):max(0, end - number)] for number, frames in self._blocks]
        parts = [part for part in parts if len(part)]
        if parts and isinstance(parts[0], np.ndarray):
            return begin, np.concatenate(parts)
        return begin, [frame for part in parts for frame in part]
