"""Log-mel spectrograms on the device, as the published audio networks were given them."""

import jax
import jax.numpy as jnp
import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.front_ends import FRONT_ENDS, FrontEnd

_GRID = 256.0


def log_mel(waveform: jax.Array, front_end: str | FrontEnd) -> jax.Array:
    """The log-mel spectrogram of a sound, which the networks of the same name take as `audio`.

    It is that of the column `audio` of a store (`vmmjax.media.spectrum`), to float32's rounding.

    Args:
      waveform: float (S,) or (B, S), in -1..1, at the front end's rate.
      front_end: a key of `FRONT_ENDS`, or one's own.

    Returns:
      float32 (F, M) or (B, F, M), F = `front_end.frames(S)`; natural logarithms of ours and VGGish's, decibels of
      PANNs'.

    Raises:
      UserError: for an unknown name, for integers, and for a sound shorter than a frame.
    """
    end = _named(front_end)
    x = jnp.asarray(waveform)
    if not jnp.issubdtype(x.dtype, jnp.floating):
        raise UserError(f'A sound of {x.dtype} was given where floats in -1..1 are meant; divide int16 by 32768.')
    if x.ndim not in (1, 2) or x.shape[-1] < end.least:
        raise UserError(f'A sound of shape {x.shape} was given where (S,) or (B, S) with at least {end.least} samples '
                        f'at {end.rate} Hz are needed.')
    places = end.hop * np.arange(end.frames(x.shape[-1]))[:, None] + np.arange(end.window)
    with jax.default_matmul_precision('highest'):
        x = end.pad(x.astype(jnp.float32), jnp)
        # Decibels are of powers, which are compared with the greatest.
        spectrum = (jnp.fft.rfft(x[..., places] * end.hann, end.n_fft) if end.offset is None else
                    _transform(x, places, end))
        return end.logarithm(jnp.matmul(jnp.abs(spectrum) ** end.power, end.weights), jnp)


def _transform(x: jax.Array, places: np.ndarray, end: FrontEnd) -> jax.Array:
    """The real Fourier transform of the frames of x at `places` (F, window), complex64 (..., F, n_fft // 2 + 1).

    Phases are those to the middle of a frame, about which the window is symmetric: the sums of two samples go with the
    cosines and their differences with the sines, which is half of the products.
    """
    first = np.arange(1, (end.window + 1) // 2)  # Sample 0 has no weight.
    before, after = (x[..., places[:, each]] * end.hann[first] for each in (first, end.window - first))
    even, odd = after + before, after - before
    away = end.window / 2 - first
    if end.window % 2 == 0:
        middle = x[..., places[:, [end.window // 2]]] * end.hann[end.window // 2]
        even, odd = jnp.concatenate([even, middle], -1), jnp.concatenate([odd, jnp.zeros_like(middle)], -1)
        away = np.append(away, 0)
    angles = 2 * np.pi / end.n_fft * np.outer(away, np.arange(end.n_fft // 2 + 1))
    return jax.lax.complex(_product(even, np.cos(angles)), _product(odd, -np.sin(angles)))


def _product(x: jax.Array, waves: np.ndarray) -> jax.Array:
    """The product of float32 (..., K) with float64 (K, N), float32 with more precision.

    A float32 transform errs by 1e-7 of the loudest band in all of them: beside a loud tone that is 1e-3 of the
    logarithm in the quiet ones. Here sound and waves are cut into multiples of 1/256 and a small rest. The product of
    the multiples is exact, since its sums fit into 24 bits; those with a rest are small, and so are their errors.
    """
    coarse_waves = np.round(waves * _GRID) / _GRID
    coarse = jax.lax.stop_gradient(jnp.round(x * _GRID) / _GRID)  # The rest carries the whole gradient.
    exact = coarse @ coarse_waves.astype(np.float32)
    return exact + (coarse @ (waves - coarse_waves).astype(np.float32) + (x - coarse) @ waves.astype(np.float32))


def valid_frames(valid: jax.Array, front_end: str | FrontEnd) -> jax.Array:
    """Which frames of `log_mel` lie inside a clip.

    They are as many as the clip's sound by itself would have: the whole hops of ours, the whole windows of VGGish's,
    the centres of PANNs'.

    Args:
      valid: bool (B, S), samples that lie inside the clip.
      front_end: as for `log_mel`.

    Returns:
      bool (B, F).
    """
    end = _named(front_end)
    counts = jnp.pad(jnp.cumsum(valid, axis=1), ((0, 0), (1, 0)))  # Of the samples before each.
    first = end.hop * np.arange(end.frames(valid.shape[1]))
    if end.place == 'centre':  # The sample at the centre, or the last before it.
        return counts[:, np.minimum(first + 1, valid.shape[1])] > counts[:, np.maximum(first - 1, 0)]
    size = end.window if end.place == 'start' else end.hop
    return counts[:, first + size] - counts[:, first] == size


def _named(front_end: str | FrontEnd) -> FrontEnd:
    if isinstance(front_end, FrontEnd):
        return front_end
    if front_end not in FRONT_ENDS:
        raise UserError(f'There is no front end {front_end!r}: {did_you_mean(front_end, FRONT_ENDS)}.')
    return FRONT_ENDS[front_end]
