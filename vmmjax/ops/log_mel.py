"""Log-mel spectrograms on the device, as the published audio networks were given them."""

import dataclasses
from collections.abc import Callable
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean

# (rate, n_fft, bands, fmin, fmax) -> float32 (n_fft // 2 + 1, bands).
Filters = Callable[[int, int, int, float, float], np.ndarray]

_EDGE = 1000.0  # Hertz up to which Slaney's scale is linear.
_STEP = 200 / 3  # Hertz a mel below that.
_LOG_STEP = np.log(6.4) / 27  # Logarithm of the ratio of two neighbouring mels above it.


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
    lowest, highest = _htk(np.array([fmin, fmax]))
    edges = np.linspace(lowest, highest, bands + 2)
    filters = _triangles(_htk(np.linspace(0, rate / 2, n_fft // 2 + 1)), edges)
    filters[0] = 0
    return filters.astype(np.float32)


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
    filters = _triangles(np.linspace(0, rate / 2, n_fft // 2 + 1), edges)
    return (filters * 2 / (edges[2:] - edges[:-2])).astype(np.float32)


def _htk(hertz: np.ndarray) -> np.ndarray:
    return 1127 * np.log1p(hertz / 700)


def _triangles(places: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """(bins,) and (M + 2,) -> (bins, M), band i rising from edge i to i + 1 and falling to i + 2."""
    steps, distances = np.diff(edges), places[:, None] - edges
    return np.maximum(0, np.minimum(distances[:, :-2] / steps[:-1], -distances[:, 2:] / steps[1:]))


def _logarithm(mel: jax.Array) -> jax.Array:
    return jnp.log(mel + 0.01)


def _decibels(mel: jax.Array) -> jax.Array:
    return 10 * jnp.log10(jnp.maximum(mel, 1e-10))


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
      centred: whether frame j is centred on sample j * hop, the sound mirrored at both ends; else it starts there,
        and what is left of a frame at the end is dropped.
      power: of the magnitudes.
      filters: which mel filters.
      compress: what is made of the bands' sums.
      bands: M.
    """

    rate: int
    window: int
    n_fft: int
    hop: int
    fmin: float
    fmax: float
    centred: bool
    power: int
    filters: Filters
    compress: Callable[[jax.Array], jax.Array]
    bands: int = 64


FRONT_ENDS: dict[str, FrontEnd] = {
    'vggish': FrontEnd(16000, 400, 512, 160, 125, 7500, False, 1, htk_filters, _logarithm),
    'panns_32k': FrontEnd(32000, 1024, 1024, 320, 50, 14000, True, 2, slaney_filters, _decibels),
    'panns_16k': FrontEnd(16000, 512, 512, 160, 50, 8000, True, 2, slaney_filters, _decibels),
}
"""The published front ends: VGGish's (Hershey et al. 2017), and those of PANNs (Kong et al. 2020) for Cnn6, Cnn10 and
Cnn14, and for Cnn14_16k."""


def log_mel(waveform: jax.Array, front_end: str | FrontEnd) -> jax.Array:
    """The log-mel spectrogram of a sound, which the networks of the same name take as `audio`.

    Args:
      waveform: float (S,) or (B, S), in -1..1, at the front end's rate.
      front_end: a key of `FRONT_ENDS`, or one's own.

    Returns:
      float32 (F, M) or (B, F, M); natural logarithms of VGGish's, F = (S - window) // hop + 1; decibels of PANNs',
      F = S // hop + 1.

    Raises:
      UserError: for an unknown name, for integers, and for a sound shorter than a frame.
    """
    if isinstance(front_end, str):
        if front_end not in FRONT_ENDS:
            raise UserError(f'There is no front end {front_end!r}: {did_you_mean(front_end, FRONT_ENDS)}.')
        front_end = FRONT_ENDS[front_end]
    x = jnp.asarray(waveform)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise UserError(f'A sound of {x.dtype} was given where floats in -1..1 are meant; divide int16 by 32768.')
    window, n_fft, hop = front_end.window, front_end.n_fft, front_end.hop
    least = window // 2 + 1 if front_end.centred else window
    if x.ndim not in (1, 2) or x.shape[-1] < least:
        raise UserError(f'A sound of shape {x.shape} was given where (S,) or (B, S) with at least {least} samples at '
                        f'{front_end.rate} Hz are needed.')
    x = x.astype(jnp.float32)
    if front_end.centred:
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(window // 2, window // 2)], mode='reflect')
    count = (x.shape[-1] - window) // hop + 1
    hann = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(np.float32)
    frames = x[..., hop * np.arange(count)[:, None] + np.arange(window)] * hann
    magnitude = jnp.abs(jnp.fft.rfft(frames, n_fft)) ** front_end.power
    filters = front_end.filters(front_end.rate, n_fft, front_end.bands, front_end.fmin, front_end.fmax)
    return front_end.compress(jnp.matmul(magnitude, filters, precision='highest'))
