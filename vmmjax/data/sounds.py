"""What is done to arrays on their way into a batch: noise, shifts in time, SpecAugment."""

from collections.abc import Callable

import numpy as np

from vmmjax.data import noise
from vmmjax.data.changes import AugmentConfig
from vmmjax.data.streams import Draw, Stream
from vmmjax.errors import UserError, did_you_mean

_VOICES = 6  # Of babble.
_KINDS = ('white', 'babble')

# (rows (N,), places (N,) in [0, 1) of their windows) -> float32 (N, S), waveforms.
Read = Callable[[np.ndarray, np.ndarray], np.ndarray]


def check(stream: Stream, rows: np.ndarray) -> None:
    """Checks the noise of a stream.

    Args:
      stream: any.
      rows: int64 (N,), the split's.

    Raises:
      UserError: names the option that does not fit.
    """
    config, where = stream.config, f'data.streams.{stream.name}'
    if not config.noise:
        return
    if config.noise not in _KINDS:
        raise UserError(f'{where}.noise is {config.noise!r}: {did_you_mean(config.noise, _KINDS)}.')
    if stream.is_pictures or len(stream.shape) != 1:
        raise UserError(f'{where}.noise is {config.noise}, which is added to a waveform, but the column '
                        f'{stream.column.name} has shape {stream.shape}; prepare and read the column waveform.')
    if len(config.snr) != 2 or config.snr[0] > config.snr[1]:
        raise UserError(f'{where}.snr is {tuple(config.snr)}; a lowest and a highest ratio in decibels are meant.')
    if config.noise == 'babble' and len(rows) < 2:
        raise UserError(f'{where}.noise is babble, which is of other clips of the split, and there are none.')


def with_noise(stream: Stream, sounds: np.ndarray, valid: np.ndarray, rows: np.ndarray, pool: np.ndarray,
               draw: Draw, read: Read) -> np.ndarray:
    """Adds the noise that a stream's config names.

    Args:
      stream: of waveforms.
      sounds: float32 (B, S).
      valid: bool (B, S).
      rows: int64 (B,), catalog rows.
      pool: int64 (N,), the split's rows, whose sounds make the babble.
      draw: random numbers; their key decides whether a clip has the same noise each time.
      read: reads other clips.
    """
    config = stream.config
    if config.noise == 'white':
        disturbance = noise.white(draw('white', sounds.shape[1]))
    else:
        others = noise.babble_rows(draw('voices', _VOICES), rows, pool)
        voices = read(others.ravel(), draw('voices at', _VOICES).ravel())
        disturbance = noise.babble(voices.reshape(*others.shape, -1))
    low, high = config.snr
    ratio = low + draw('snr', 1)[:, 0] * (high - low)
    measured = noise.speech_active(sounds, valid) if config.snr_of_speech else None
    return noise.add_noise(sounds, valid, ratio, disturbance, measured)


def augmented(stream: Stream, x: np.ndarray, valid: np.ndarray, config: AugmentConfig,
              draw: Draw) -> tuple[np.ndarray, np.ndarray]:
    """Shifts arrays in time and hides parts of spectrograms, in training.

    Args:
      stream: of arrays.
      x: float32 (B, T, ...).
      valid: bool (B, T).
      config: says how much.
      draw: random numbers.

    Returns:
      Both, changed.
    """
    most = round(config.time_shift * stream.column.rate)
    if most:
        x, valid = noise.time_shift(x, valid, draw('time_shift', 1)[:, 0], most)
    masks, width, bands, band_width = config.spec_augment
    if masks + bands and x.ndim == 3:
        x = noise.spec_augment(x, valid, draw('spec_augment', 2 * (masks + bands)), time_masks=masks,
                               time_width=width, band_masks=bands, band_width=band_width)
    return x, valid
