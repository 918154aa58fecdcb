"""Cleaning of a sound: a spectral gate, and silence at its ends."""

import librosa
import numpy as np

_SECONDS = 0.064  # Of the transform, about.
_QUIET = 0.2  # Fraction of the frames, the quietest, that are taken for noise alone.
_DEVIATIONS = 1.5  # By which a sound must be above the noise's mean level.
_SMOOTH = (2.0, 1.0)  # Bands and frames over which what is above is spread, so that single peaks of noise stay out.
_MOST_DB, _OPEN_DB = 20.0, 2.0  # What is above is counted up to the former; the gate is open from the latter on.


def gate(waveform: np.ndarray, *, rate: int, strength: float) -> np.ndarray:
    """Takes steady noise away: bands are turned down where they are no louder than in the clip's quietest moments.

    The noise's level in a band is the mean, in decibels, over the quietest fifth of the frames that are not wholly
    silent; the gate opens 1.5 deviations above it, as that of the package noisereduce. On GRID sentences with white
    noise at 5 dB the full strength takes the ratio to 13 or 14 dB.

    Args:
      waveform: float32 (S,).
      rate: samples a second.
      strength: of 0..1, the part of the noise that goes.

    Returns:
      float32 (S,); a sound of which nothing is heard, or that is shorter than a frame (64 ms), unchanged.
    """
    # Workers import this module: this takes them a fifth of a second.
    from scipy import ndimage

    n_fft = 1 << round(np.log2(_SECONDS * rate))
    if len(waveform) < n_fft:
        return waveform
    hop = n_fft // 4
    spectrum = librosa.stft(waveform, n_fft=n_fft, hop_length=hop)
    power = np.abs(spectrum) ** 2
    loudness = power.sum(axis=0)
    if not loudness.any():
        return waveform
    quiet = (loudness > 0) & (loudness <= np.quantile(loudness[loudness > 0], _QUIET))
    level = librosa.power_to_db(power, amin=1e-12, top_db=None)
    threshold = level[:, quiet].mean(axis=1) + _DEVIATIONS * level[:, quiet].std(axis=1)
    above = ndimage.gaussian_filter(np.clip(level - threshold[:, None], 0, _MOST_DB), _SMOOTH, mode='nearest')
    gain = 1 - strength * (1 - np.clip(above / _OPEN_DB, 0, 1))
    return librosa.istft(spectrum * gain, n_fft=n_fft, hop_length=hop, length=len(waveform)).astype(np.float32)


def silence_ends(waveform: np.ndarray, *, below_db: float) -> np.ndarray:
    """Makes what is quieter than the clip's maximum, at both ends, silent; it stays as long as it is.

    It is not cut off, since a sound that began earlier would no longer be in time with the pictures.

    Args:
      waveform: float32 (S,).
      below_db: decibels below the loudest moment, above 0, see `librosa.effects.trim`.

    Returns:
      float32 (S,).
    """
    if not waveform.any():
        return waveform
    _, (first, end) = librosa.effects.trim(waveform, top_db=below_db)
    places = np.arange(len(waveform))
    return np.where((places >= first) & (places < end), waveform, np.float32(0))
