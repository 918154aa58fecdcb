"""Spectrograms of a sound: the log-mels of `vmmjax.front_ends`, and MFCCs.

Their bytes depend neither on the number of cores nor on their kind, so that a store is the same wherever it is made: a
BLAS adds up a matrix product in an order of its own on each, and NumPy rounds complex magnitudes and logarithms in ways
of its own. Here products are added up one after another, and the rest is computed in float64.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from vmmjax.front_ends import FrontEnd, slaney_filters

_TOGETHER = 4096  # Frames: a long sound's windows do not lie in memory all at once.
_RANGE_DB = 80.0  # Of MFCCs, below the loudest band of a clip.


def log_mel(waveform: np.ndarray, front_end: FrontEnd) -> np.ndarray:
    """The logarithms of the sound in mel bands.

    Args:
      waveform: float32 (S,), in -1..1, at the front end's rate.
      front_end: of `vmmjax.front_ends`.

    Returns:
      float32 (F, M), F = `front_end.frames(S)`: none of a sound that is too short.
    """
    return np.concatenate(list(log_mels([waveform], len(waveform), front_end)))


def log_mels(pieces: Iterable[np.ndarray], samples: int, front_end: FrontEnd) -> Iterator[np.ndarray]:
    """Yields what `log_mel` returns in pieces, at least one, so that nothing else of a long sound lies in memory.

    Args:
      pieces: of the sound, float32 (S,); they are read as they are needed.
      samples: of all of them together.
      front_end: of `vmmjax.front_ends`.
    """
    count = front_end.frames(samples)
    if not count:
        yield np.zeros((0, front_end.bands), np.float32)
    sound = _Forward(pieces)
    for first in range(0, count, _TOGETHER):
        frames = min(_TOGETHER, count - first)
        part = _heard(sound, samples, front_end, first, frames)
        windows = np.lib.stride_tricks.sliding_window_view(part, front_end.window)[::front_end.hop][:frames]
        spectrum = np.fft.rfft(windows * front_end.hann, front_end.n_fft)
        real, imaginary = spectrum.real.astype(np.float64), spectrum.imag.astype(np.float64)
        magnitudes = np.sqrt(real ** 2 + imaginary ** 2)
        mel = _product(magnitudes ** front_end.power, front_end.weights)
        yield front_end.logarithm(mel, np).astype(np.float32)


def _product(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """float64 (F, N), the product of float64 (F, K) with (K, N), added up in the order of K; zeros cost nothing."""
    rows = np.ascontiguousarray(x.T)
    out = np.zeros((weights.shape[1], len(x)))
    for k, n in np.argwhere(weights).tolist():
        out[n] += rows[k] * float(weights[k, n])
    return out.T


class _Forward:
    """A sound in pieces, of which no more lies in memory than is asked for."""

    def __init__(self, pieces: Iterable[np.ndarray]) -> None:
        self._pieces, self._first = iter(pieces), 0
        self._held = np.zeros(0, np.float32)

    def between(self, first: int, end: int) -> np.ndarray:
        """The samples from `first` on and before `end`, of which both never go back."""
        held = [self._held[first - self._first:]]
        self._first, count = first, len(held[0])
        while count < end - first:
            held.append(next(self._pieces))
            count += len(held[-1])
        self._held = np.concatenate(held)
        return self._held[:end - first]


def _heard(sound: _Forward, samples: int, front_end: FrontEnd, first: int, frames: int) -> np.ndarray:
    """float32, the samples under a number of frames: as `FrontEnd.pad` gives them for the whole sound."""
    begin = first * front_end.hop - front_end.lead
    end = begin + (frames - 1) * front_end.hop + front_end.window
    # Enough on both sides to be mirrored.
    inner = max(0, begin - front_end.window), min(samples, end + front_end.window)
    around = max(0, -begin), max(0, end - samples)
    part = np.pad(sound.between(*inner).astype(np.float32), around,
                  mode='reflect' if front_end.place == 'centre' else 'constant')
    return part[begin + around[0] - inner[0]:][:end - begin]


def mfcc(waveform: np.ndarray, *, rate: int, window: int, hop: int, bands: int, coefficients: int) -> np.ndarray:
    """Mel-frequency cepstral coefficients, librosa's: of the bands' decibels, those 80 below the greatest raised to it.

    Frame j is centred on its own hop, at sample (j + 0.5) * hop, as our log-mels' are; the sound is zero beyond its
    ends.

    Args:
      waveform: float32 (S,).
      rate: samples a second.
      window: samples under the Hann window; the transform is the next power of two long.
      hop: samples from frame to frame.
      bands: mel bands, from 0 Hz to half the rate.
      coefficients: C, at most `bands`.

    Returns:
      float32 (S // hop, C).
    """
    front_end = FrontEnd(rate, window, 1 << (window - 1).bit_length(), hop, 0, rate / 2, 'hop', 2, slaney_filters, None,
                         bands)
    decibels = log_mel(waveform, front_end).astype(np.float64)
    decibels = np.maximum(decibels, decibels.max(initial=-np.inf) - _RANGE_DB)
    angles = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(coefficients))
    waves = np.cos(angles) * np.sqrt(np.where(np.arange(coefficients), 2, 1) / bands)  # The orthonormal DCT-II.
    return _product(decibels, waves).astype(np.float32)
