"""Sound while it comes, as `media.audio` reads it from a file."""

import math

import numpy as np
import soxr
from av.audio.frame import AudioFrame

from vmmjax.media.audio import JITTER, MARGIN, mono


class LiveSound:
    """Lays sound out on the pictures' clock, as one channel at a rate of its own.

    What is missing is silence; after a gap that is too long the sound begins anew. Of what is there twice, the first
    stays.
    """

    def __init__(self, rate: int, gap: float) -> None:
        """Begins a stream.

        Args:
          rate: samples a second that come out.
          gap: seconds that may be missing, or come twice.
        """
        self._rate, self._gap = rate, gap
        self._native = 0
        self._expected = self._given = 0  # The next sample that comes in, and that comes out.
        self._resampler: soxr.ResampleStream | None = None

    def take(self, time: float, frame: AudioFrame) -> tuple[int, np.ndarray]:
        """The sound of a frame, or what the filter lets out of it.

        Args:
          time: seconds from the clock's zero.
          frame: as it was decoded.

        Returns:
          Number of the first sample, sample i sounding at i / rate, and the samples, float32 (S,). Where that is not
          the number after the last one, the sound has begun anew.

        Raises:
          ValueError: for samples that are no numbers.
        """
        samples, native = mono(frame), frame.sample_rate
        at = round(time * native)
        if not self._native:
            self._begin(native, 0 if at <= self._gap * native else at)
        elif native != self._native or abs(at - self._expected) > self._gap * native:
            self._begin(native, at)
        elif abs(at - self._expected) < JITTER * native:
            at = self._expected
        if at > self._expected:
            samples = np.concatenate([np.zeros(at - self._expected, np.float32), samples])
        else:
            samples = samples[self._expected - at:]
        return self._out(samples)

    def fill(self, time: float) -> tuple[int, np.ndarray]:
        """Silence up to a time, in seconds; see `take`."""
        missing = math.ceil(time * self._native) - self._expected
        return self._out(np.zeros(max(0, missing), np.float32))

    def finish(self, duration: float) -> tuple[int, np.ndarray]:
        """Silence up to the end of a clip, and what the filter has held back; see `take`."""
        if not self._native:
            return self._given, np.zeros(0, np.float32)
        missing = math.ceil((duration + MARGIN) * self._native) - self._expected
        first, out = self._out(np.zeros(max(0, missing), np.float32), last=True)
        return first, out[:max(0, round(duration * self._rate) - first)]

    def _begin(self, native: int, at: int) -> None:
        """Where both rates have a sample, before `at`."""
        self._native = native
        block = native // math.gcd(native, self._rate)
        self._expected = math.floor((at - MARGIN * native) / block) * block
        self._given = self._expected * self._rate // native
        same = native == self._rate
        self._resampler = None if same else soxr.ResampleStream(native, self._rate, 1, dtype='float32',
                                                                quality='soxr_hq')

    def _out(self, samples: np.ndarray, last: bool = False) -> tuple[int, np.ndarray]:
        self._expected += len(samples)
        out = samples if self._resampler is None else self._resampler.resample_chunk(samples, last=last)
        first = self._given
        self._given += len(out)
        # Nothing is told of before the clock's zero.
        lead = min(len(out), max(0, -first))
        return first + lead, out[lead:]
