"""Test views: how often a clip is looked at in evaluation, and where in time and space."""

import dataclasses

import numpy as np

from vmmjax.errors import UserError, did_you_mean

AVERAGES = ('logits', 'probabilities')
_CROPS = (1, 3, 5, 10)


@dataclasses.dataclass(frozen=True)
class ViewsConfig:
    """`data.views`; in evaluation only. A clip is in a row of the batch for each view, with the same `id`.

    Attributes:
      clips: windows a clip, at equal distances from its beginning to its end. Where the window is the whole clip they
        differ in the frames that are taken: with 2 these are the published twice-sample of TSM.
      crops: places of the crop a window, see `crops.view_places`: 1, 3, 5 or 10.
      average: what is averaged over the views of a clip, one of `AVERAGES`.
    """

    clips: int = 1
    crops: int = 1
    average: str = 'logits'

    def __post_init__(self) -> None:
        if self.clips < 1:
            raise UserError(f'data.views.clips is {self.clips}; it must be at least 1.')
        if self.crops not in _CROPS:
            raise UserError(f'data.views.crops is {self.crops}; choose one of {", ".join(map(str, _CROPS))}.')
        if self.average not in AVERAGES:
            raise UserError(f'data.views.average is {self.average!r}: {did_you_mean(str(self.average), AVERAGES)}.')

    def __len__(self) -> int:
        """Views a clip."""
        return self.clips * self.crops

    def windows(self, views: np.ndarray) -> np.ndarray:
        """Where windows begin, as draws of `sampling.window_starts`: float64 (B,) for views int64 (B,)."""
        return np.full(len(views), 0.5) if self.clips == 1 else views // self.crops / (self.clips - 1)

    def within(self, views: np.ndarray) -> np.ndarray:
        """Where in its part of a whole clip each sample lies, see `sampling.Sampling`: float64 (B,)."""
        return (0.5 + views // self.crops / self.clips) % 1
