"""What is done to arrays on their way into a batch: noise, shifts in time, SpecAugment."""

from collections.abc import Callable

import numpy as np
from scipy.special import ndtri

from vmmjax.errors import UserError, did_you_mean
from vmmjax.pipeline.streams import Draw, Stream
from vmmjax.pipeline.transforms.config import AugmentConfig

_BLOCK = 320  # Samples over which loudness is measured: 20 ms at 16 kHz.
_ACTIVE_DB = -30.0  # Of the loudest block; speech is no quieter.


def add_noise(waveforms: np.ndarray, valid: np.ndarray, snr_db: np.ndarray, noise: np.ndarray,
              measured: np.ndarray | None = None) -> np.ndarray:
    """Adds noise so that 10 log10(|x|^2 / |n|^2), over valid samples, is as asked for: torchaudio's `add_noise`.

    A row whose sound or noise is silent where it is measured has no such ratio; it is left as it is.

    Args:
      waveforms: float32 (B, S).
      valid: bool (B, S); other samples are neither counted nor changed.
      snr_db: float (B,), decibels; infinity leaves a row as it is.
      noise: float32 (B, S), of any loudness: `white`, `babble`.
      measured: bool (B, S), samples over which both powers are taken, in place of all valid ones: `speech_active`.

    Returns:
      float32 (B, S); it is not clipped to -1..1.
    """
    counted = valid if measured is None else valid & measured
    sound, disturbance = (np.square(x, dtype=np.float64).sum(axis=1, where=counted) for x in (waveforms, noise))
    audible = (sound > 0) & (disturbance > 0)
    wanted = sound * 10 ** (-np.asarray(snr_db, np.float64) / 10)
    gain = np.sqrt(np.divide(wanted, disturbance, where=audible, out=np.zeros_like(sound)))
    return np.where(valid, waveforms + gain[:, None] * noise, waveforms).astype(np.float32)


def speech_active(waveforms: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Where somebody speaks: blocks of 320 samples (20 ms at 16 kHz) within 30 dB of the clip's loudest.

    Speech fills about half of a GRID clip; over all samples the same ratio would mean more noise in a longer clip.

    Args:
      waveforms: float32 (B, S).
      valid: bool (B, S); other samples are not active.

    Returns:
      bool (B, S); all False where a row is silent.
    """
    rows, samples = waveforms.shape
    blocks = -(-samples // _BLOCK)
    padded = np.zeros((rows, blocks * _BLOCK))
    padded[:, :samples] = np.where(valid, waveforms, 0)
    power = np.square(padded).reshape(rows, blocks, _BLOCK).sum(axis=2)
    active = (power > 0) & (power >= power.max(axis=1, keepdims=True, initial=0) * 10 ** (_ACTIVE_DB / 10))
    return np.repeat(active, _BLOCK, axis=1)[:, :samples] & valid


def white(draws: np.ndarray) -> np.ndarray:
    """Gaussian noise of power 1.

    Args:
      draws: float64 (B, S) in [0, 1).

    Returns:
      float32 (B, S).
    """
    return ndtri(np.maximum(draws, 2.0 ** -54)).astype(np.float32)  # A draw is 0 or at least 2 ** -53.


def babble_rows(draws: np.ndarray, rows: np.ndarray, pool: np.ndarray) -> np.ndarray:
    """Whose voices make up each clip's babble: any clips of a pool but the clip itself; one may come twice.

    Give the clips' own split as the pool; then no voice in a test's babble was heard in training.

    Args:
      draws: float64 (B, K) in [0, 1).
      rows: int64 (B,), catalog rows.
      pool: int64 (N,), catalog rows to choose from, in ascending order, at least 2.

    Returns:
      int64 (B, K), catalog rows.
    """
    inside = np.isin(rows, pool)[:, None]
    chosen = np.floor(draws * (len(pool) - inside)).astype(np.int64)
    return pool[chosen + (inside & (chosen >= np.searchsorted(pool, rows)[:, None]))]


def babble(voices: np.ndarray) -> np.ndarray:
    """Several voices at once, each as loud as the others.

    Args:
      voices: float32 (B, K, S); a silent one adds nothing.

    Returns:
      float32 (B, S).
    """
    loudness = np.sqrt(np.square(voices, dtype=np.float64).mean(axis=2, keepdims=True))
    return np.divide(voices, loudness, where=loudness > 0, out=np.zeros(voices.shape)).sum(axis=1).astype(np.float32)


def time_shift(x: np.ndarray, valid: np.ndarray, draws: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Moves each clip earlier or later; what moves in is zero and not valid, nothing is wrapped around.

    A stream that is shifted is no longer in time with the others, by up to `most`.

    Args:
      x: (B, T, ...): a waveform's samples, a spectrogram's frames.
      valid: bool (B, T).
      draws: float64 (B,) in [0, 1); 0.5 leaves a clip where it is.
      most: samples or frames, the largest shift either way, each as likely.

    Returns:
      Both, shifted.
    """
    frames = x.shape[1]
    shifts = np.floor(draws * (2 * most + 1)).astype(np.int64) - most
    source = np.arange(frames) - shifts[:, None]
    inside = (source >= 0) & (source < frames)
    rows, source = np.arange(len(x))[:, None], np.where(inside, source, 0)
    shape = inside.shape + (1,) * (x.ndim - 2)
    return np.where(inside.reshape(shape), x[rows, source], x.dtype.type(0)), inside & valid[rows, source]


def spec_augment(x: np.ndarray, valid: np.ndarray, draws: np.ndarray, *, time_masks: int, time_width: int,
                 band_masks: int, band_width: int) -> np.ndarray:
    """Hides stretches of time and bands of a spectrogram (Park et al. 2019), without its warping of time.

    A mask's width is uniform in 0..width, its place uniform where it fits; the time masks lie among the valid frames.
    What is hidden becomes the clip's mean, which is the paper's zero where spectrograms are normalised.
    The published settings are, as (time masks, width, band masks, width): PANNs (2, 64, 2, 8), of 64 bands (they hide
    it by zeros after the first BatchNorm); LibriSpeech's policy LD (2, 100, 2, 27), of 80 bands.

    Args:
      x: float32 (B, F, M).
      valid: bool (B, F).
      draws: float64 (B, 2 * (time_masks + band_masks)) in [0, 1).
      time_masks: stretches of time a clip.
      time_width: frames, at most that many each.
      band_masks: stretches of bands a clip.
      band_width: bands, at most that many each.

    Returns:
      float32 (B, F, M).
    """
    counts = valid.sum(axis=1)
    # Places among the valid frames, so that masks need not know where those begin.
    order = np.where(valid, np.cumsum(valid, axis=1) - 1, -1)
    bands = np.full(len(x), x.shape[2])
    split = 2 * time_masks
    hidden = _stretches(draws[:, :split], counts, time_width, order)[:, :, None]
    hidden = hidden | _stretches(draws[:, split:], bands, band_width, np.arange(x.shape[2])[None])[:, None]
    total = x.sum(axis=(1, 2), where=valid[:, :, None], dtype=np.float64)
    mean = (total / np.maximum(counts * x.shape[2], 1)).astype(np.float32)
    return np.where(hidden & valid[:, :, None], mean[:, None, None], x)


def _stretches(draws: np.ndarray, sizes: np.ndarray, width: int, places: np.ndarray) -> np.ndarray:
    """Which `places` (B or 1, N) lie in one of the stretches of up to `width` within 0..sizes - 1: bool (B, N)."""
    hidden = np.zeros((len(draws), places.shape[1]), bool)
    for wide, where in draws.reshape(len(draws), -1, 2).transpose(1, 2, 0):
        widths = np.minimum(np.floor(wide * (width + 1)).astype(np.int64), sizes)
        firsts = np.floor(where * (sizes - widths + 1)).astype(np.int64)[:, None]
        hidden |= (places >= firsts) & (places < firsts + widths[:, None])
    return hidden


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
        disturbance = white(draw('white', sounds.shape[1]))
    else:
        others = babble_rows(draw('voices', _VOICES), rows, pool)
        voices = read(others.ravel(), draw('voices at', _VOICES).ravel())
        disturbance = babble(voices.reshape(*others.shape, -1))
    low, high = config.snr
    ratio = low + draw('snr', 1)[:, 0] * (high - low)
    measured = speech_active(sounds, valid) if config.snr_of_speech else None
    return add_noise(sounds, valid, ratio, disturbance, measured)


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
        x, valid = time_shift(x, valid, draw('time_shift', 1)[:, 0], most)
    masks, width, bands, band_width = config.spec_augment
    if masks + bands and x.ndim == 3:
        x = spec_augment(x, valid, draw('spec_augment', 2 * (masks + bands)), time_masks=masks,
                         time_width=width, band_masks=bands, band_width=band_width)
    return x, valid
