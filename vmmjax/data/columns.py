"""What each column of a store makes of a clip: pictures, motion, sound, or a user's own.

A column is any class with the members of `Column`; `--columns=package.module:Name` of `vmmjax prepare`
takes one that is not here. Its arrays are stored by kind:

- `picture`: uint8 (T, H, W, 3), one JPEG a frame;
- `flow`: uint8 (T, H, W, 2), one grey PNG a frame, horizontal beside vertical;
- `array`: float32 (T, M).
"""

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar, Protocol

import cv2
import numpy as np

from vmmjax.data.catalog import Row
from vmmjax.errors import UserError
from vmmjax.media import audio, video
from vmmjax.media import flow as media_flow
from vmmjax.registry import find

JPEG_QUALITY = 95
_PIECE_CHUNKS = 16  # Chunks (seconds, about) of a long clip that are decoded at a time.


class Column(Protocol):
    """Turns a clip into frames at a fixed rate. Instances are dataclasses: their fields are the options.

    Attributes:
      name: folder of the column in the store, and the modality's name in configs.
      kind: how the frames are stored, see the module.
    """

    name: ClassVar[str]
    kind: ClassVar[str]

    @property
    def rate(self) -> float:
        """Frames a second."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of an `array` frame; empty for pictures, whose size is the clip's."""

    def read(self, path: Path, clip: Row) -> Iterator[np.ndarray]:
        """Yields the clip's frames in pieces, each but the last a whole number of chunks long.

        Yields nothing where the clip lacks the modality.

        Raises:
          UserError: for a file that cannot be decoded.
        """


def chunk_frames(rate: float) -> int:
    """Frames of a record: about one second."""
    return max(1, round(rate))


@dataclasses.dataclass(frozen=True)
class Rgb:
    """Pictures at a fixed rate, the short side resized.

    Attributes:
      fps: frames a second.
      short_side: pixels.
    """

    fps: float = 25.0
    short_side: int = 128

    name: ClassVar[str] = 'rgb'
    kind: ClassVar[str] = 'picture'

    def __post_init__(self) -> None:
        _check_positive(self)

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.fps

    @property
    def shape(self) -> tuple[int, ...]:
        """Pictures have their clip's size."""
        return ()

    def read(self, path: Path, clip: Row) -> Iterator[np.ndarray]:
        """Yields uint8 (T, H, W, 3)."""
        if clip.fps is None:
            return
        for start, end in _pieces(clip, self.fps):
            yield video.read_frames(path, start=start, end=end, fps=self.fps, short_side=self.short_side)


@dataclasses.dataclass(frozen=True)
class Flow(Rgb):
    """Motion between neighbouring pictures, in pixels of the resized picture a frame.

    Frame t is the motion from picture t to t + 1; the clip's last repeats the one before it.
    The code is that of `vmmjax.media.flow.encode`.

    Attributes:
      fps: frames a second.
      short_side: pixels.
      flow: the algorithm, a key of `algorithms` or your own as package.module:Name.
      flow_on: `resized` or `source`, the pictures that the algorithm is given; flow of the source's pictures is
        resized, its displacements with it.
    """

    flow: str = 'farneback'
    flow_on: str = 'resized'

    name: ClassVar[str] = 'flow'
    kind: ClassVar[str] = 'flow'
    algorithms: ClassVar[Mapping[str, media_flow.Algorithm]] = media_flow.ALGORITHMS

    def __post_init__(self) -> None:
        super().__post_init__()
        find(self.flow, self.algorithms, 'flow')
        if self.flow_on not in ('resized', 'source'):
            raise UserError(f'The option flow_on of the column flow is {self.flow_on!r}; choose resized or source.')

    def read(self, path: Path, clip: Row) -> Iterator[np.ndarray]:
        """Yields uint8 (T, H, W, 2): horizontal, vertical."""
        if clip.fps is None or clip.width is None or clip.height is None:
            return
        algorithm = find(self.flow, self.algorithms, 'flow')
        short_side = self.short_side if self.flow_on == 'resized' else min(clip.width, clip.height)
        for start, end in _pieces(clip, self.fps):
            more = end < clip.end  # One more picture, for the motion that leaves the piece.
            frames = video.read_frames(path, start=start, end=end + more / self.fps, fps=self.fps,
                                       short_side=short_side)
            if not frames.shape[0]:
                continue
            motion = media_flow.motion(frames, algorithm)[:len(frames) - more]
            if self.flow_on == 'source':
                # Its size is that of the pictures in the column rgb, whatever their rounding.
                like = video.read_frames(path, start=start, end=start + 1 / self.fps, fps=self.fps,
                                         short_side=self.short_side)
                motion = media_flow.resize(motion, width=like.shape[2], height=like.shape[1])
            yield media_flow.encode(motion)


@dataclasses.dataclass(frozen=True)
class Audio:
    """Log-mel spectrogram of the mean of all channels.

    The defaults are VGGish's (Hershey et al. 2017): 16 kHz, 25 ms windows every 10 ms, 64 bands from
    125 to 7500 Hz, log(mel + 0.01).

    Attributes:
      audio_rate: samples a second.
      hop_ms: milliseconds from frame to frame.
      window_ms: milliseconds of a frame; its FFT is the next power of two long.
      bands: mel bands.
      fmin: lowest frequency, Hz.
      fmax: highest frequency, Hz.
    """

    audio_rate: int = 16000
    hop_ms: float = 10.0
    window_ms: float = 25.0
    bands: int = 64
    fmin: float = 125.0
    fmax: float = 7500.0

    name: ClassVar[str] = 'audio'
    kind: ClassVar[str] = 'array'

    def __post_init__(self) -> None:
        _check_positive(self)
        if not self.fmin < self.fmax <= self.audio_rate / 2:
            raise UserError(f'The column audio has bands from {self.fmin} to {self.fmax} Hz; choose fmin < fmax <= '
                            f'{self.audio_rate / 2}, half of audio_rate.')

    @property
    def _hop(self) -> int:
        return max(1, round(self.audio_rate * self.hop_ms / 1000))

    @property
    def rate(self) -> float:
        """Frames a second."""
        return self.audio_rate / self._hop

    @property
    def shape(self) -> tuple[int, ...]:
        """One value a band."""
        return (self.bands,)

    def read(self, path: Path, clip: Row) -> Iterator[np.ndarray]:
        """Yields float32 (T, bands), the whole clip at once: a spectrogram needs its neighbours."""
        if clip.audio_rate is None:
            return
        waveform = audio.read_waveform(path, start=clip.start, end=clip.end, rate=self.audio_rate)
        if waveform is None:
            return
        window = round(self.audio_rate * self.window_ms / 1000)
        yield audio.log_mel(waveform, rate=self.audio_rate, hop=self._hop, window=window,
                            n_fft=1 << (window - 1).bit_length(), bands=self.bands, fmin=self.fmin, fmax=self.fmax)


COLUMNS: Mapping[str, type[Any]] = {'rgb': Rgb, 'flow': Flow, 'audio': Audio}


def encode(kind: str, frames: np.ndarray) -> list[bytes]:
    """Pictures as they are stored.

    Args:
      kind: `picture` or `flow`.
      frames: uint8 (T, H, W, 3 or 2), as the kind says.

    Returns:
      One JPEG or PNG file a frame.
    """
    if kind == 'picture':
        quality = [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY]
        return [_imencode('.jpg', frame[..., ::-1], quality) for frame in frames]
    return [_imencode('.png', np.concatenate([frame[..., 0], frame[..., 1]], axis=1), []) for frame in frames]


def _imencode(suffix: str, picture: np.ndarray, options: list[int]) -> bytes:
    done, encoded = cv2.imencode(suffix, picture, options)
    if not done:
        raise RuntimeError(f'OpenCV could not write a {suffix} of shape {picture.shape}.')
    return encoded.tobytes()


def _pieces(clip: Row, fps: float) -> Iterator[tuple[float, float]]:
    """Splits a clip's [start, end) into spans of whole chunks, so that a long one never lies in memory decoded."""
    span = _PIECE_CHUNKS * chunk_frames(fps) / fps
    count = max(1, int(np.ceil(clip.duration / span - 1e-9)))
    for i in range(count):
        yield clip.start + i * span, clip.end if i == count - 1 else clip.start + (i + 1) * span


def _check_positive(column: Any) -> None:
    for field in dataclasses.fields(column):
        value = getattr(column, field.name)
        if not isinstance(value, str) and value <= 0:
            raise UserError(f'The option {field.name} of the column {column.name} is {value}; it must be above 0.')
