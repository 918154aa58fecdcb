"""Sound out of a media file, on the picture's clock."""

import math
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import soxr
from av.audio.frame import AudioFrame

from vmmjax.media.container import MediaError, clock_zero, decode, open_media, packets, seek, sound_stream

# Seconds read on both sides of a window: for the resampling filter.
MARGIN = 0.1
# Seconds decoded before that: a decoder set into the middle of a track gives wrong sound at first.
_WARM_UP = 0.3
# Seconds by which a time may differ from the samples counted so far: containers round times.
JITTER = 0.01
# Seconds by which they may differ where the rate has changed: some containers go on to count at the first one.
_DRIFT = 0.1
# Samples that lie in memory at a track's own rate, twice: a sound may be hours long.
_BLOCK = 1 << 20
# Of a sample, where 1 is full scale; floats that were scaled as 16 bits are within it.
_MAX_AMPLITUDE = 1e5


def read_waveform(path: Path, *, start: float, end: float, rate: int) -> np.ndarray | None:
    """Reads the sound of a window, as one channel, aligned with the pictures.

    Sample i sounds at `start + i / rate` on the clock of `media.container`: sound that begins late, ends early or
    has a gap is filled with silence, and an encoder's priming samples are left out.

    Args:
      path: a file.
      start: seconds from the first picture.
      end: likewise.
      rate: samples a second that come out.

    Returns:
      float32 (S,), S = round((end - start) * rate), the mean of the channels, about -1..1; None where the
      file has no sound track.

    Raises:
      MediaError: where the file cannot be read.
    """
    pieces = list(each_waveform(path, start=start, end=end, rate=rate))
    return np.concatenate(pieces) if pieces else None


def each_waveform(path: Path, *, start: float, end: float, rate: int) -> Iterator[np.ndarray]:
    """Yields what `read_waveform` reads in pieces, so that a sound of hours does not lie in memory.

    Args:
      path: a file.
      start: seconds from the first picture.
      end: likewise.
      rate: samples a second that come out.

    Yields:
      float32 (S,), at least once; nothing where the file has no sound track.

    Raises:
      MediaError: where the file cannot be read.
    """
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return
        native, zero = stream.rate, clock_zero(container)
        # Begun where both rates have a sample, so that a window is to the sample the part of the whole.
        block = native // math.gcd(native, rate)
        first = math.floor((start - MARGIN) * native / block) * block
        count = math.ceil((end + MARGIN) * native) - first
        if first / native > _WARM_UP:
            seek(container, stream, zero + first / native - _WARM_UP)
        placed = _placed(packets(container, stream), path, first, zero, native)
        begin, samples = round(start * rate), round((end - start) * rate)
        at = first * rate // native - begin
        given = 0
        for part in _resampled(_laid_out(placed, count), native, rate):
            kept = part[max(0, given - at):max(0, samples - at)]
            at += len(part)
            if len(kept):
                yield kept
                given += len(kept)
        if given < samples or not samples:
            yield np.zeros(samples - given, np.float32)


def _placed(sound: Iterator[av.Packet], path: Path, first: int, zero: float,
            native: int) -> Iterator[tuple[int, np.ndarray]]:
    """Yields where samples belong, sample 0 being number `first` of our clock, and them, at the rate `native`."""
    expected: int | None = None
    other: _OtherRate | None = None
    for packet in sound:
        for frame in decode(packet):
            try:
                samples = mono(frame)
            except ValueError as error:
                raise MediaError(path, str(error)) from error
            at = expected if frame.time is None else round((frame.time - zero) * native) - first
            at = 0 if at is None else at
            if expected is not None and abs(at - expected) < JITTER * native:
                at = expected
            if other is not None and other.rate != frame.sample_rate:
                yield other.last()
                other = None
            if other is None and frame.sample_rate != native:
                other = _OtherRate(path, frame.sample_rate, native, at)
            if other is None:
                expected = at + len(samples)
                yield at, samples
            else:
                yield other.take(at, samples)
                expected = other.expected
    if other is not None:
        yield other.last()


class _OtherRate:
    """A part of a sound with a rate of its own, brought to that of the rest."""

    def __init__(self, path: Path, rate: int, native: int, at: int) -> None:
        self.rate, self._path, self._native, self._begun = rate, path, native, at
        self._resampler = soxr.ResampleStream(rate, native, 1, dtype='float32', quality='soxr_hq')
        self._taken = self._given = 0

    @property
    def expected(self) -> int:
        """Where the next sample belongs."""
        return self._begun + round(self._taken * self._native / self.rate)

    def take(self, at: int, samples: np.ndarray) -> tuple[int, np.ndarray]:
        if abs(at - self.expected) > _DRIFT * self._native:
            raise MediaError(self._path, f'the rate of its sound changes from {self._native} to {self.rate} samples a '
                                         f'second, and its times do not follow')
        self._taken += len(samples)
        return self._resampled(samples, last=False)

    def last(self) -> tuple[int, np.ndarray]:
        """What the filter held back."""
        return self._resampled(np.zeros(0, np.float32), last=True)

    def _resampled(self, samples: np.ndarray, last: bool) -> tuple[int, np.ndarray]:
        out = self._resampler.resample_chunk(samples, last=last)
        place = self._begun + self._given
        self._given += len(out)
        return place, out


def _laid_out(placed: Iterator[tuple[int, np.ndarray]], count: int) -> Iterator[np.ndarray]:
    """Yields `count` samples in pieces: silence, where nothing is placed; of what is placed twice, the later."""
    begin, block = 0, np.zeros(2 * _BLOCK, np.float32)
    for at, samples in placed:
        if at >= count:
            break
        for i in range(0, len(samples), _BLOCK):
            part = samples[i:i + _BLOCK][:max(0, count - at - i)]
            while at + i + len(part) > begin + len(block):
                yield block[:_BLOCK].copy()
                begin += _BLOCK
                block[:_BLOCK], block[_BLOCK:] = block[_BLOCK:], 0
            lead = max(0, begin - at - i)
            block[at + i + lead - begin:][:len(part[lead:])] = part[lead:]
    while begin < count:
        yield block[:min(_BLOCK, count - begin)].copy()
        begin += _BLOCK
        block[:_BLOCK], block[_BLOCK:] = block[_BLOCK:], 0


def _resampled(pieces: Iterator[np.ndarray], native: int, rate: int) -> Iterator[np.ndarray]:
    if native == rate:
        yield from pieces
        return
    resampler = soxr.ResampleStream(native, rate, 1, dtype='float32', quality='soxr_hq')
    for piece in pieces:
        yield resampler.resample_chunk(piece)
    yield resampler.resample_chunk(np.zeros(0, np.float32), last=True)


def mono(frame: AudioFrame) -> np.ndarray:
    """float32 (S,), the mean of the channels; integers are divided by their greatest.

    Raises:
      ValueError: for samples that are no numbers, or far beyond full scale.
    """
    samples = frame.to_ndarray()
    if samples.dtype.kind == 'f' and not np.abs(samples).max(initial=0) <= _MAX_AMPLITUDE:  # Nor is NaN.
        raise ValueError('its sound holds samples that are no numbers, or far beyond full scale')
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    scale = 1.0
    if samples.dtype == np.uint8:
        samples, scale = samples.astype(np.int16) - 128, 2.0 ** -7
    elif samples.dtype.kind == 'i':
        scale = 2.0 ** -(8 * samples.dtype.itemsize - 1)
    return (samples.mean(0, dtype=np.float64) * scale).astype(np.float32)
