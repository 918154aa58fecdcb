"""Clips of any length cut into windows: where those begin, and what becomes of the last."""

import dataclasses

import numpy as np

from vmmjax.errors import UserError, did_you_mean

TAILS = ('drop', 'pad', 'reflect')
_SLACK = 0.02  # Seconds; containers round their lengths, and half a picture more is none.


@dataclasses.dataclass(frozen=True)
class Cut:
    """How a clip is cut into windows.

    Attributes:
      window: seconds of a window; 0 makes one window of the whole clip.
      stride: seconds from the beginning of a window to that of the next; 0 for `window`.
      tail: of a last window that reaches past the clip's end: `drop` leaves it out, `pad` masks what is missing,
        `reflect` puts in its place what came before, in reverse.
    """

    window: float
    stride: float = 0.0
    tail: str = 'pad'

    def __post_init__(self) -> None:
        if self.window < 0 or self.stride < 0:
            raise UserError(f'A window of {self.window:g} s every {self.stride:g} s is none; give seconds above 0.')
        if self.tail not in TAILS:
            raise UserError(f'There is no tail {self.tail!r}: {did_you_mean(self.tail, TAILS)}.')
        object.__setattr__(self, 'stride', self.stride or self.window)

    def starts(self, duration: float) -> np.ndarray:
        """Where the windows of a clip begin.

        Args:
          duration: seconds of the clip.

        Returns:
          float64 (W,), seconds: every window that lies in the clip, up to 20 ms, and unless the tail is dropped the
          next one, where that adds something.
        """
        if not self.window:
            return np.zeros(1)
        count = max(0, int(np.floor((duration - self.window + _SLACK) / self.stride)) + 1)
        following = count * self.stride
        covered = following - self.stride + self.window if count else 0.0
        if self.tail != 'drop' and max(covered, following) < duration - _SLACK:
            count += 1
        elif not count and self.tail != 'drop':
            count = 1  # A clip of next to no time.
        return np.arange(count) * self.stride

    def ends(self, starts: np.ndarray, durations: np.ndarray | float) -> np.ndarray:
        """Where windows end, no later than their clips: float64 (W,) for the same and a length of each or of all."""
        return np.minimum(starts + self.window, durations) if self.window else durations + 0 * starts


def reflect(x: np.ndarray, valid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fills what is missing at the end of a window with what came before it, in reverse (NumPy's `reflect`).

    Args:
      x: (T, ...), the frames of a window.
      valid: bool (T,), the first of them and no others.

    Returns:
      Both, whole; as they are where no frame is valid.
    """
    count = int(valid.sum())
    if not count:
        return x, valid
    period = max(1, 2 * count - 2)
    places = np.arange(len(x)) % period
    return x[np.where(places < count, places, period - places)], np.ones_like(valid)
