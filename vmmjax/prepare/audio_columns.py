"""The columns of sound: log-mel spectrograms, cepstra, and the waveform itself."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from vmmjax import registry
from vmmjax.errors import UserError
from vmmjax.front_ends import FRONT_ENDS, FrontEnd
from vmmjax.media import audio, denoise, spectrum
from vmmjax.store.catalog import ClipInfo

_PIECE = 1 << 22  # Samples of a long sound that are handed over at a time.


def check_positive(column: Any, *names: str) -> None:
    """Raises a UserError where one of the named options of a column is not above 0."""
    for name in names:
        value = getattr(column, name)
        if value <= 0:
            raise UserError(f'The option {name} of the column {column.name} is {value}; it must be above 0.')


@dataclasses.dataclass(frozen=True)
class Waveform:
    """The mean of all channels, sample by sample.

    Attributes:
      audio_rate: samples a second.
      denoise: 0..1, the part of steady noise that a spectral gate takes away, see `vmmjax.media.denoise`.
      trim_db: what is so many decibels quieter than the clip's loudest moment becomes silent at both ends; 0 for none.
        Nothing is cut off: the sound stays in time with the pictures.
    """

    audio_rate: int = 16000
    denoise: float = 0.0
    trim_db: float = 0.0

    name: ClassVar[str] = 'waveform'
    kind: ClassVar[str] = 'array'

    def __post_init__(self) -> None:
        check_positive(self, 'audio_rate')
        if not 0 <= self.denoise <= 1:
            raise UserError(f'The option denoise of the column {self.name} is {self.denoise}; it must be from 0 to 1.')
        if self.trim_db < 0:
            raise UserError(f'The option trim_db of the column {self.name} is {self.trim_db}; it must be above 0, or 0 '
                            f'for no trimming.')

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.audio_rate

    @property
    def shape(self) -> tuple[int, ...]:
        """A sample is a number."""
        return ()

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """Yields float32 (S,) in pieces."""
        yield from self._sound(path, clip)

    def count(self, clip: ClipInfo) -> int:
        """See `columns.Counted`."""
        return self._samples(clip) if clip.audio_rate is not None else 0

    def _samples(self, clip: ClipInfo) -> int:
        return round((clip.end - clip.start) * self.audio_rate)

    def _sound(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """float32 (S,) in pieces; where it is changed, all of it is read first, since noise is seen from all of it."""
        if clip.audio_rate is None:
            return
        pieces = audio.each_waveform(path, start=clip.start, end=clip.end, rate=self.audio_rate)
        if not (self.denoise or self.trim_db):
            yield from pieces
            return
        for waveform in _whole(pieces):
            if self.denoise:
                waveform = denoise.gate(waveform, rate=self.audio_rate, strength=self.denoise)
            if self.trim_db:
                waveform = denoise.silence_ends(waveform, below_db=self.trim_db)
            for first in range(0, max(1, len(waveform)), _PIECE):
                yield waveform[first:first + _PIECE]


def _whole(pieces: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """All of them as one, or nothing where there are none."""
    if held := list(pieces):
        yield np.concatenate(held)


@dataclasses.dataclass(frozen=True)
class Audio(Waveform):
    """Log-mel spectrogram of the mean of all channels.

    Options that are None become those of the front end. Of the default, `log_mel`, they are VGGish's (Hershey et al.
    2017): 16 kHz, 25 ms windows every 10 ms, 64 bands from 125 to 7500 Hz, log(mel + 0.01); it is in time with the
    pictures to the sample, and its options may be chosen. The published ones are as they are.

    Attributes:
      audio_rate: samples a second.
      denoise: see `Waveform`.
      trim_db: see `Waveform`.
      front_end: `log_mel`, `vggish`, `panns_32k`, `panns_16k` of `vmmjax.front_ends`, or your own as
        package.module:NAME.
      hop_ms: milliseconds from frame to frame.
      window_ms: milliseconds of a frame; of `log_mel` its FFT is the next power of two long.
      bands: mel bands.
      fmin: lowest frequency, Hz.
      fmax: highest frequency, Hz.
    """

    audio_rate: int = None  # type: ignore[assignment]  # After __post_init__ there is no None.
    front_end: str = 'log_mel'
    hop_ms: float = None  # type: ignore[assignment]
    window_ms: float = None  # type: ignore[assignment]
    bands: int = None  # type: ignore[assignment]
    fmin: float = None  # type: ignore[assignment]
    fmax: float = None  # type: ignore[assignment]

    name: ClassVar[str] = 'audio'
    version: ClassVar[int] = 2  # Before, bytes depended on the BLAS.

    def __post_init__(self) -> None:
        end: FrontEnd = registry.find(self.front_end, FRONT_ENDS, 'front end')
        own = {'audio_rate': end.rate, 'hop_ms': 1000 * end.hop / end.rate, 'window_ms': 1000 * end.window / end.rate,
               'bands': end.bands, 'fmin': end.fmin, 'fmax': end.fmax}
        for name, value in own.items():
            given = getattr(self, name)
            if given is None:
                object.__setattr__(self, name, value)
            elif given != value and self.front_end != 'log_mel':
                raise UserError(f'The option {name} of the column {self.name} is {given}, but the front end '
                                f'{self.front_end} has {value}; leave it out, or take the front end log_mel.')
        super().__post_init__()
        check_positive(self, *own)
        if not self.fmin < self.fmax <= self.audio_rate / 2:
            raise UserError(f'The column audio has bands from {self.fmin} to {self.fmax} Hz; choose fmin < fmax <= '
                            f'{self.audio_rate / 2}, half of audio_rate.')

    @property
    def spectrogram(self) -> FrontEnd:
        """How a spectrogram is made."""
        end: FrontEnd = registry.find(self.front_end, FRONT_ENDS, 'front end')
        if self.front_end != 'log_mel':
            return end
        window = round(self.audio_rate * self.window_ms / 1000)
        return dataclasses.replace(
            end, rate=self.audio_rate, hop=_hop(self.audio_rate, self.hop_ms), window=window,
            n_fft=1 << (window - 1).bit_length(), bands=self.bands, fmin=self.fmin, fmax=self.fmax)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.spectrogram.rate / self.spectrogram.hop

    @property
    def shape(self) -> tuple[int, ...]:
        """One value a band."""
        return (self.bands,)

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """Yields float32 (T, bands) in pieces."""
        sound = self._sound(path, clip)
        for first in itertools.islice(sound, 1):
            yield from spectrum.log_mels(itertools.chain([first], sound), self._samples(clip), self.spectrogram)

    def count(self, clip: ClipInfo) -> int:
        """See `columns.Counted`."""
        return self.spectrogram.frames(self._samples(clip)) if clip.audio_rate is not None else 0


@dataclasses.dataclass(frozen=True)
class Mfcc(Waveform):
    """Mel-frequency cepstral coefficients, librosa's, in time with the pictures as the log-mels are.

    Attributes:
      audio_rate: samples a second.
      denoise: see `Waveform`.
      trim_db: see `Waveform`.
      hop_ms: milliseconds from frame to frame.
      window_ms: milliseconds of a frame; its FFT is the next power of two long.
      bands: mel bands, from 0 Hz to half the rate.
      coefficients: of them, the first so many are kept.
    """

    hop_ms: float = 10.0
    window_ms: float = 25.0
    bands: int = 40
    coefficients: int = 20

    name: ClassVar[str] = 'mfcc'
    version: ClassVar[int] = 2  # Likewise.

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive(self, 'hop_ms', 'window_ms', 'bands', 'coefficients')
        if self.coefficients > self.bands:
            raise UserError(f'The column mfcc has {self.coefficients} coefficients of {self.bands} bands; choose no '
                            f'more coefficients than bands.')

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.audio_rate / _hop(self.audio_rate, self.hop_ms)

    @property
    def shape(self) -> tuple[int, ...]:
        """One value a coefficient."""
        return (self.coefficients,)

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        """Yields float32 (T, coefficients), the whole clip at once: its loudest frame counts for all."""
        for waveform in _whole(self._sound(path, clip)):
            yield spectrum.mfcc(waveform, rate=self.audio_rate, window=round(self.audio_rate * self.window_ms / 1000),
                                hop=_hop(self.audio_rate, self.hop_ms), bands=self.bands,
                                coefficients=self.coefficients)

    def count(self, clip: ClipInfo) -> int:
        """See `columns.Counted`."""
        return self._samples(clip) // _hop(self.audio_rate, self.hop_ms) if clip.audio_rate is not None else 0


def _hop(rate: int, milliseconds: float) -> int:
    return max(1, round(rate * milliseconds / 1000))
