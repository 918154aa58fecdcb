"""Sound out of a media file, on the picture's clock."""

import math
from collections.abc import Iterator
from pathlib import Path

import av
import librosa
import numpy as np
from av.audio.frame import AudioFrame

from vmmjax.media.container import clock_zero, decode, open_media, packets, seek, sound_stream

# Seconds read on both sides of a window: for the resampling filter.
_MARGIN = 0.1
# Seconds decoded before that: a decoder set into the middle of a track gives wrong sound at first.
_WARM_UP = 0.3
# Seconds by which a time may differ from the samples counted so far: containers round times.
_JITTER = 0.01


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
    with open_media(path) as container:
        stream = sound_stream(container)
        if stream is None:
            return None
        native, zero = stream.rate, clock_zero(container)
        # Begun where both rates have a sample, so that a window is to the sample the part of the whole.
        block = native // math.gcd(native, rate)
        first = math.floor((start - _MARGIN) * native / block) * block
        line = np.zeros(math.ceil((end + _MARGIN) * native) - first, np.float32)
        if first / native > _WARM_UP:
            seek(container, stream, zero + first / native - _WARM_UP)
        _lay_out(packets(container, stream), line, first, zero, native)
    if native != rate:
        line = librosa.resample(line, orig_sr=native, target_sr=rate, res_type='soxr_hq')
    skip, size = round(start * rate) - first * rate // native, round((end - start) * rate)
    line = line[skip:skip + size]
    return np.pad(line, (0, size - len(line))).astype(np.float32)


def _lay_out(sound: Iterator[av.Packet], line: np.ndarray, first: int, zero: float, native: int) -> None:
    """Puts the samples where they belong on `line`, whose sample 0 is number `first` of our clock."""
    expected: int | None = None
    for packet in sound:
        for frame in decode(packet):
            samples = _mono(frame)
            at = expected if frame.time is None else round((frame.time - zero) * native) - first
            at = 0 if at is None else at
            if expected is not None and abs(at - expected) < _JITTER * native:
                at = expected
            expected = at + len(samples)
            if at >= len(line):
                return
            lead = max(0, -at)
            part = samples[lead:max(lead, len(line) - at)]
            line[at + lead:at + lead + len(part)] = part


def _mono(frame: AudioFrame) -> np.ndarray:
    """float32 (S,), the mean of the channels; integers are divided by their greatest."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, len(frame.layout.channels)).T
    scale = 1.0
    if samples.dtype == np.uint8:
        samples, scale = samples.astype(np.int16) - 128, 2.0 ** -7
    elif samples.dtype.kind == 'i':
        scale = 2.0 ** -(8 * samples.dtype.itemsize - 1)
    return (samples.mean(0, dtype=np.float64) * scale).astype(np.float32)
