"""One stream of a clip batch: which frames of its column it needs, and how they come into the batch."""

import dataclasses
from collections.abc import Callable

import numpy as np

from vmmjax import registry
from vmmjax.errors import UserError
from vmmjax.pipeline import sampling
from vmmjax.pipeline.transforms import crops
from vmmjax.pipeline.transforms.frames import Change, decode_frame
from vmmjax.store import records
from vmmjax.store.column import Column
from vmmjax.store.store import Store

CHANNELS = {'picture': 3, 'flow': 2}  # Of the kinds of columns that are pictures.

Draw = Callable[[str, int], np.ndarray]  # (name, numbers) -> float64 (B, numbers), see `sampling.uniform`.


@dataclasses.dataclass(frozen=True)
class StreamConfig:
    """What one encoder reads: an entry of `data.streams`.

    Attributes:
      modality: column of the store.
      frames: sampled frames over the window; None takes every frame in it.
      rate: in place of `frames`: that many a second.
      sampling: `dense`, `strided`, `segments`, `random`, `shuffled` or `package.module:Name`, see `sampling.Sampling`.
      stack: frames that follow each other and become the channels of one: 5 of motion make 10 (x, y, x, y, ...).
      size: side of the square that pictures and motion are cut or resized to, in pixels.
      region: top, left, bottom, right as fractions of the picture; the crop lies inside.
      noise: `white` or `babble` (other clips of the split), added to a waveform in training and evaluation.
      snr: lowest and highest ratio of sound to noise, in decibels.
      snr_of_speech: whether the ratio is that of the stretches where somebody speaks.
      views: how often the stream is drawn for each clip in training; evaluation has view 0 alone. View k >= 1 is in the
        batch as `view<k>/<stream>`, `view<k>/valid/<stream>` and `view<k>/present/<stream>`, see `training.views.view`.
        Modality dropout drops a stream in all of its views. Targets are those of view 0.
      share: what further views have in common with view 0, any of `training_views.SHARES`; everything else is drawn
        anew. By default the same window is sampled and augmented in another way.
      offset: least and greatest number of seconds by which the window of each further view begins after that of view 0,
        drawn uniformly; negative is before. What lies outside of the clip is masked.
    """

    modality: str
    frames: int | None = None
    rate: float | None = None
    sampling: str = 'dense'
    stack: int = 1
    size: int | None = None
    region: crops.Region = (0.0, 0.0, 1.0, 1.0)
    noise: str = ''
    snr: tuple[float, float] = (0.0, 0.0)
    snr_of_speech: bool = False
    views: int = 1
    share: tuple[str, ...] = ('window',)
    offset: tuple[float, float] = (0.0, 0.0)


class Stream:
    """Reads one stream of a store.

    Attributes:
      name: of the stream, the batch's key.
      config: its options.
      column: the store's column it reads.
      shape: of a clip: (T, size, size, channels), (F, M) or (S,).
      dtype: uint8 for pictures and flow, float32 for arrays.
      coverage: share of the region's area that a crop covers, the median over the clips; 1 for arrays.
    """

    def __init__(self, name: str, config: StreamConfig, store: Store, rows: np.ndarray, seconds: float):
        """Checks the stream against the store.

        Args:
          name: of the stream.
          config: its options.
          store: where its column is.
          rows: int64 (N,), the split's.
          seconds: length of the window; 0 is the whole clip.

        Raises:
          UserError: names the column that is not there, the sampling nobody knows, options that do not fit each
            other, or the clip too small to crop.
        """
        self.name, self.config = name, config
        self.column: Column = store.column(config.modality)
        self._seconds = seconds
        self._sampling: sampling.Sampling = registry.find(config.sampling, sampling.SAMPLINGS, 'sampling')
        self._sampled = self._checked_frames()
        frames = self._sampled or sampling.all_frames(np.zeros(1), seconds, self.column.rate).shape[1]
        self.coverage = 1.0
        if self.is_pictures:
            size, self.coverage = self._checked_size(store, rows)
            self.shape: tuple[int, ...] = (frames, size, size, CHANNELS[self.column.kind] * config.stack)
        else:
            self.shape = (frames, *self.column.shape)
        self.dtype = np.dtype(np.uint8 if self.is_pictures else np.float32)

    @property
    def is_pictures(self) -> bool:
        """Whether frames are decoded and cropped."""
        return self.column.kind in CHANNELS

    @property
    def specs(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of every batch key of a clip."""
        flags = np.dtype(bool)
        return {self.name: (self.shape, self.dtype), f'valid/{self.name}': (self.shape[:1], flags),
                f'present/{self.name}': ((), flags)}

    def __str__(self) -> str:
        """One line for a summary."""
        how = f'{self._sampled} frames {self.config.sampling}' if self._sampled else 'every frame'
        stack = f', {self.config.stack} stacked' if self.config.stack > 1 else ''
        crop = noise = ''
        if self.is_pictures:
            crop = f', {self.config.size} pixels inside {tuple(self.config.region)}, {self.coverage:.0%} of it'
        if self.config.noise:
            of = 'speech to ' if self.config.snr_of_speech else ''
            noise = f', {of}{self.config.noise} noise at {self.config.snr[0]:g} to {self.config.snr[1]:g} dB'
        return f'{self.name}: {self.column.name} at {self.column.rate:g}/s, {how}{stack}{crop}{noise} -> {self.shape}'

    def frames(self, rows: np.ndarray, starts: np.ndarray, within: np.ndarray, draw: Draw, train: bool) -> np.ndarray:
        """The frames that clips are to have, whether or not they exist.

        Args:
          rows: int64 (B,), catalog rows.
          starts: float64 (B,), seconds.
          within: float64 (B,), see `sampling.Sampling`.
          draw: random numbers.
          train: whether the sampling is that of training.

        Returns:
          int64 (B, T): the first frame of each stack; (B, 1), the first of all, where an array is read whole: a
          waveform has many thousand.
        """
        if self._sampled is None:
            frames = sampling.all_frames(starts, self._seconds, self.column.rate)
            return frames[:, :1] if self._is_span else frames
        # Streams with as many frames share the draws, so that they see the same instants.
        fixed = self._sampling in (sampling.dense, sampling.strided)
        draws = np.zeros((len(rows), self._sampled)) if fixed else draw('frames', self._sampled)
        lengths = np.full(len(rows), self._seconds) if self._seconds else self.column.lengths[rows] / self.column.rate
        lengths = np.maximum(lengths - (self.config.stack - 1) / self.column.rate, 0)
        return sampling.sampled_frames(starts, lengths, self._sampling(draws, train, within), self.column.rate)

    def valid(self, rows: np.ndarray, frames: np.ndarray) -> np.ndarray:
        """Which of the frames exist, bool (B, T); for rows int64 (B,) and what `frames` gives."""
        lengths = self.column.lengths[rows, None]
        if self._is_span:
            places = np.arange(self.shape[0], dtype=np.int32)
            return (places >= np.maximum(-frames, 0)) & (places < lengths - frames)
        return (frames >= 0) & (frames + self.config.stack <= lengths)

    def needs(self, row: int, frames: np.ndarray, valid: np.ndarray) -> np.ndarray:
        """The numbers of the records, int64, in order, that hold the valid ones (T,) of a row's frames (T,) or (1,)."""
        chunk, stack = self.column.chunk, self.config.stack
        if not valid.any():
            return np.zeros(0, np.int64)
        if self._is_span:
            begin, end = _ends(valid) + frames[0]
            places = np.arange(begin // chunk, (end - 1) // chunk + 1)
        else:
            places = np.unique((frames[valid][:, None] + np.arange(stack)) // chunk)
        return self.column.offsets[row] + places

    def fill(self, out: np.ndarray, found: dict[int, bytes], row: int, frames: np.ndarray, valid: np.ndarray,
             change: Change | None) -> None:
        """Puts the existing frames of a clip into its place in the batch.

        Args:
          out: zeros, of `shape` and `dtype`; it is written to.
          found: the records by number.
          row: the catalog row.
          frames: int64 (T,) or (1,), as `frames` gave them.
          valid: bool (T,), some of them True.
          change: what is done to pictures; None for arrays.

        Raises:
          ValueError: for a damaged record.
        """
        first, chunk = int(self.column.offsets[row]), self.column.chunk
        if change is None:
            arrays = {number: records.numbers(record, self.column.shape) for number, record in found.items()}
            if self._is_span:
                low, high = _ends(valid).tolist()
                begin = (int(frames[0]) + low) % chunk
                out[low:high] = np.concatenate(list(arrays.values()))[begin:begin + high - low]
                return
            for place in np.flatnonzero(valid).tolist():
                number, within = divmod(int(frames[place]), chunk)
                out[place] = arrays[first + number][within]
            return
        encoded = {number: records.pictures(record) for number, record in found.items()}
        height, width = self.column.sizes[row].tolist()
        channels = CHANNELS[self.column.kind]
        for place in np.flatnonzero(valid).tolist():
            for i in range(self.config.stack):
                number, within = divmod(int(frames[place]) + i, chunk)
                decode_frame(encoded[first + number][within], (height, width), change,
                             out[place, :, :, channels * i:channels * (i + 1)])

    @property
    def _is_span(self) -> bool:
        return self._sampled is None and not self.is_pictures

    def _checked_frames(self) -> int | None:
        """How many frames are sampled; None for every one."""
        config, where = self.config, f'data.streams.{self.name}'
        if config.frames is not None and config.rate is not None:
            raise UserError(f'{where} has frames and a rate; set one of them.')
        if config.stack < 1 or (config.stack > 1 and not (self.is_pictures and config.frames)):
            raise UserError(f'{where}.stack is {config.stack}; 1 or more sampled frames of pictures or motion can be '
                            f'stacked.')
        if config.frames is None and not self._seconds:
            raise UserError(f'data.window.seconds is 0, the whole clip, but {where} takes every frame of it; set '
                            f'{where}.frames, as a batch needs clips of one length.')
        if config.rate is None:
            return config.frames
        if not 0 < config.rate <= self.column.rate:
            raise UserError(f'{where}.rate is {config.rate:g}; choose more than 0 and at most the '
                            f'{self.column.rate:g} frames a second of the column {self.column.name}.')
        return max(1, round(self._seconds * config.rate))

    def _checked_size(self, store: Store, rows: np.ndarray) -> tuple[int, float]:
        """The crop's side, and its `coverage`."""
        size = self.config.size
        if not size:
            raise UserError(f'The stream {self.name!r} reads pictures, so it needs a size: set '
                            f'data.streams.{self.name}.size to the side of the crop in pixels.')
        here = rows[self.column.lengths[rows] > 0]
        low, high = crops.region_bounds(self.column.sizes[here].astype(np.int64), self.config.region)
        room = (high - low).min(axis=1)
        if len(here) and room.min() < size:
            row = here[room.argmin()]
            height, width = self.column.sizes[row]
            raise UserError(
                f'The stream {self.name!r} crops {size} x {size} pixels, but its region {tuple(self.config.region)} '
                f'of the clip {store.clip(row)!r} ({height} x {width}) leaves {room.min()}; choose a smaller '
                f'data.streams.{self.name}.size, a larger region, or prepare a store with a larger --short_side.')
        return size, float(np.median(size**2 / (high - low).prod(axis=1))) if len(here) else 1.0


def _ends(valid: np.ndarray) -> np.ndarray:
    """First place and end of a row's valid frames, which follow each other."""
    first = int(valid.argmax())
    return np.array([first, first + int(valid.sum())])
