"""How audio networks want their sound: the numbers of each log-mel spectrogram, for NumPy and for JAX alike."""

import dataclasses
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from vmmjax.errors import UserError

# (rate, n_fft, bands, fmin, fmax) -> float32 (n_fft // 2 + 1, bands).
Filters = Callable[[int, int, int, float, float], np.ndarray]

_EDGE = 1000.0  # Hertz up to which Slaney's scale is linear.
_STEP = 200 / 3  # Hertz a mel below that.
_LOG_STEP = np.log(6.4) / 27  # Logarithm of the ratio of two neighbouring mels above it.
_LEAST = 1e-10  # Power that decibels are taken of at least.


@lru_cache
def htk_filters(rate: int, n_fft: int, bands: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangles on the HTK scale, straight in mel, of height 1, blind to the mean: VGGish's `mel_features.py`.

    Args:
      rate: samples a second.
      n_fft: samples of the transform.
      bands: M.
      fmin: hertz, lower edge of the first band.
      fmax: hertz, upper edge of the last.

    Returns:
      float32 (n_fft // 2 + 1, M).
    """
    filters = _triangles(_htk(_bins(rate, n_fft)), _htk_edges(bands, fmin, fmax))
    filters[0] = 0
    return filters.astype(np.float32)


@lru_cache
def librosa_htk_filters(rate: int, n_fft: int, bands: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangles on the HTK scale, straight in hertz, of height 1: librosa's, with `htk=True, norm=None`.

    Args:
      rate: samples a second.
      n_fft: samples of the transform.
      bands: M.
      fmin: hertz, lower edge of the first band.
      fmax: hertz, upper edge of the last.

    Returns:
      float32 (n_fft // 2 + 1, M).
    """
    edges = 700 * np.expm1(_htk_edges(bands, fmin, fmax) / 1127)
    return _triangles(_bins(rate, n_fft), edges).astype(np.float32)


@lru_cache
def slaney_filters(rate: int, n_fft: int, bands: int, fmin: float, fmax: float) -> np.ndarray:
    """Triangles on Slaney's scale, straight in hertz, of equal area: librosa's default.

    Args:
      rate: samples a second.
      n_fft: samples of the transform.
      bands: M.
      fmin: hertz, lower edge of the first band.
      fmax: hertz, upper edge of the last.

    Returns:
      float32 (n_fft // 2 + 1, M).
    """
    lowest, highest = (hertz / _STEP if hertz < _EDGE else _EDGE / _STEP + np.log(hertz / _EDGE) / _LOG_STEP
                       for hertz in (fmin, fmax))
    mels = np.linspace(lowest, highest, bands + 2)
    edges = np.where(mels * _STEP < _EDGE, mels * _STEP, _EDGE * np.exp((mels - _EDGE / _STEP) * _LOG_STEP))
    return (_triangles(_bins(rate, n_fft), edges) * 2 / (edges[2:] - edges[:-2])).astype(np.float32)


def _bins(rate: int, n_fft: int) -> np.ndarray:
    return np.linspace(0, rate / 2, n_fft // 2 + 1)


def _htk(hertz: np.ndarray) -> np.ndarray:
    return 1127 * np.log1p(hertz / 700)


def _htk_edges(bands: int, fmin: float, fmax: float) -> np.ndarray:
    lowest, highest = _htk(np.array([fmin, fmax]))
    return np.linspace(lowest, highest, bands + 2)


def _triangles(places: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(bins,) and (M + 2,) -> (bins, M), band i rising from edge i to i + 1 and falling to i + 2."""
    steps, distances = np.diff(edges), places[:, None] - edges
    return np.maximum(0, np.minimum(distances[:, :-2] / steps[:-1], -distances[:, 2:] / steps[1:]))


@dataclasses.dataclass(frozen=True)
class FrontEnd:
    """How a network wants its sound.

    Attributes:
      rate: samples a second.
      window: samples under the periodic Hann window.
      n_fft: samples of the transform, at least `window`.
      hop: samples from frame to frame.
      fmin: hertz, lower edge of the first band.
      fmax: hertz, upper edge of the last.
      place: where frame j lies. `start`: it begins at sample j * hop, and what is left of a frame at the end is
        dropped. `centre`: it is centred there, the sound mirrored at both ends. `hop`: it is centred on its own hop, at
        sample (j + 0.5) * hop, the sound zero beyond its ends; so it stands for its hop as a picture does for its time.
      power: of the magnitudes.
      filters: which mel filters.
      offset: added before the natural logarithm; None for decibels, of a power of at least 1e-10.
      bands: M.
    """

    rate: int
    window: int
    n_fft: int
    hop: int
    fmin: float
    fmax: float
    place: str
    power: int
    filters: Filters
    offset: float | None
    bands: int = 64

    def __post_init__(self) -> None:
        if self.place not in ('start', 'centre', 'hop'):
            raise UserError(f'The place of a front end is {self.place!r}; choose start, centre or hop.')
        if self.n_fft < self.window:
            raise UserError(f'n_fft={self.n_fft} is shorter than window={self.window}: make it at least as long.')
        if not 0 <= self.fmin < self.fmax <= self.rate / 2:
            raise UserError(f'Mel bands from {self.fmin} to {self.fmax} Hz do not fit a rate of {self.rate} Hz: '
                            f'0 <= fmin < fmax <= {self.rate / 2} is needed.')

    @property
    def lead(self) -> int:
        """Samples of frame 0 that lie before sample 0; below zero where it begins later."""
        return {'start': 0, 'centre': self.window // 2, 'hop': (self.window - self.hop + 1) // 2}[self.place]

    @property
    def least(self) -> int:
        """Samples that a sound must have for one frame."""
        return {'start': self.window, 'centre': self.window // 2 + 1, 'hop': self.hop}[self.place]

    def frames(self, samples: int) -> int:
        """Frames of a sound of that many samples."""
        if samples < self.least:
            return 0
        if self.place == 'hop':
            return samples // self.hop
        return (samples + 2 * self.lead - self.window) // self.hop + 1

    def pad(self, x: Any, xp: Any) -> Any:
        """The sound with what is heard before and after it, so that frame j begins at sample j * hop.

        Args:
          x: (..., S), S at least `least`.
          xp: NumPy or jax.numpy.
        """
        samples = x.shape[-1]
        after = max(0, (self.frames(samples) - 1) * self.hop + self.window - self.lead - samples)
        around = [(0, 0)] * (x.ndim - 1) + [(max(0, self.lead), after)]
        if self.place == 'centre':
            return xp.pad(x, around, mode='reflect')
        return xp.pad(x, around)[..., max(0, -self.lead):]

    @property
    def hann(self) -> np.ndarray:
        """The periodic Hann window, float32 (window,)."""
        return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(self.window) / self.window)).astype(np.float32)

    @property
    def weights(self) -> np.ndarray:
        """Of the bins of a transform in each band, float32 (n_fft // 2 + 1, M)."""
        return self.filters(self.rate, self.n_fft, self.bands, self.fmin, self.fmax)

    def logarithm(self, mel: Any, xp: Any) -> Any:
        """Of bands, float (..., M).

        Args:
          mel: magnitudes to `power` of the transform of a frame under `hann`, times `weights`.
          xp: NumPy or jax.numpy.
        """
        if self.offset is None:
            return 10 * xp.log10(xp.maximum(mel, _LEAST))
        return xp.log(mel + self.offset)


FRONT_ENDS: dict[str, FrontEnd] = {
    'log_mel': FrontEnd(16000, 400, 512, 160, 125, 7500, 'hop', 1, librosa_htk_filters, 0.01),
    'vggish': FrontEnd(16000, 400, 512, 160, 125, 7500, 'start', 1, htk_filters, 0.01),
    'panns_32k': FrontEnd(32000, 1024, 1024, 320, 50, 14000, 'centre', 2, slaney_filters, None),
    'panns_16k': FrontEnd(16000, 512, 512, 160, 50, 8000, 'centre', 2, slaney_filters, None),
}
"""Ours, which is in time with the pictures, and the published ones: VGGish's (Hershey et al. 2017), and those of PANNs
(Kong et al. 2020) for Cnn6, Cnn10 and Cnn14, and for Cnn14_16k."""
