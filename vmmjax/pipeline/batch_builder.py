"""The work of a batch: records are read all at once, clips are decoded by a pool of threads."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import Executor

import numpy as np

from vmmjax.pipeline.streams import Draw, Stream
from vmmjax.pipeline.transforms import audio, config, mixup
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.store import records as stored

_ALIGNMENT = 64  # Bytes; TensorFlow copies an array that begins elsewhere.


@dataclasses.dataclass(frozen=True)
class Clips:
    """The clips of a batch, B entries each.

    Attributes:
      rows: int64, catalog rows.
      real: bool, False for padding.
      views: int64, which view of its clip each is.
      train: whether they are augmented.
      starts: float64, seconds, of the windows.
      within: float64, see `sampling.Sampling`.
      draw: random numbers, keyed by position.
      draw_noise: random numbers of noise.
      window: the starts of windows, from rows and their places in [0, 1].
    """

    rows: np.ndarray
    real: np.ndarray
    views: np.ndarray
    train: bool
    starts: np.ndarray
    within: np.ndarray
    draw: Draw
    draw_noise: Draw
    window: Callable[[np.ndarray, np.ndarray], np.ndarray]


class Filler:
    """Fills batches."""

    def __init__(self, streams: list[Stream], rows: np.ndarray, augment: config.AugmentConfig,
                 views: ViewsConfig, pool: Executor):
        """Takes the streams, the split's rows, what the config says of augmentation and views, and the threads."""
        self._streams, self._rows, self._augment, self._views, self._pool = streams, rows, augment, views, pool

    def fill(self, stream: Stream, clips: Clips, frames: np.ndarray, valid: np.ndarray,
             damaged: dict[int, stored.DamagedRecord], view: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """One stream of a batch.

        Args:
          stream: which.
          clips: of the batch.
          frames: int64 (B, T), as `Stream.frames` gave them.
          valid: bool (B, T); others are not read.
          damaged: gets the clips, by their place in the batch, of which a record is.
          view: of the training's views.

        Returns:
          The stream's array (B, *stream.shape) and what of it is valid, bool (B, T).
        """
        made: list[config.Change] | None = None
        augment = self._augment.of_view(view)
        if stream.is_pictures:
            made = augment.of_training(stream, clips.rows, clips.draw) if clips.train else (
                config.of_evaluation(stream, clips.rows, clips.views, self._views))
        x = self._read(stream, clips.rows, frames, valid, made, damaged)
        if stream.config.noise:
            x = audio.with_noise(stream, x, valid, clips.rows, self._rows, clips.draw_noise,
                                 lambda rows, places: self._others(stream, clips, rows, places))
        if clips.train and not stream.is_pictures:
            x, valid = audio.augmented(stream, x, valid, augment, clips.draw)
        return x, valid

    def mix(self, batch: dict[str, np.ndarray], target: str, clips: Clips) -> None:
        """Mixes the pairs of a batch in their place: names, too, while classes get `mix/target` and `mix/weight`."""
        names = [stream.name for stream in self._streams]
        draws = clips.draw('mix', mixup.DRAWS)[::2]
        shares, cuts = mixup.shares(draws, self._augment.mixup, self._augment.cutmix)
        shares = np.where(mixup.partners(batch, target, names), shares, 0)
        weight, own = np.repeat(shares, 2).astype(np.float32), batch[target]
        other = own.reshape(-1, 2, *own.shape[1:])[:, ::-1].reshape(own.shape)
        if own.ndim == 1:
            batch['mix/target'], batch['mix/weight'] = other, weight
        else:
            batch[target] = np.where(weight[:, None] > 0, own + weight[:, None] * (other - own), own)

        def one(pair: int) -> None:
            for name in names:
                first, second = batch[name][2 * pair], batch[name][2 * pair + 1]
                both = batch[f'valid/{name}'][2 * pair] & batch[f'valid/{name}'][2 * pair + 1]
                mixup.mix(first, second, both, float(shares[pair]), draws[pair, 2:] if cuts[pair] else None)

        list(self._pool.map(one, np.flatnonzero(shares).tolist()))

    def _others(self, stream: Stream, clips: Clips, rows: np.ndarray, places: np.ndarray) -> np.ndarray:
        """Waveforms of other clips; silent where they are damaged, so that this clip is not left out for another's."""
        frames = stream.frames(rows, clips.window(rows, places), np.full(len(rows), 0.5), clips.draw, clips.train)
        return self._read(stream, rows, frames, stream.valid(rows, frames), None, {})

    def _read(self, stream: Stream, rows: np.ndarray, frames: np.ndarray, valid: np.ndarray,
              made: list[config.Change] | None, damaged: dict[int, stored.DamagedRecord]) -> np.ndarray:
        needs = [stream.needs(*each) for each in zip(rows.tolist(), frames, valid, strict=True)]
        found = stored.read(stream.column, rows, needs)
        out = _zeros((len(rows), *stream.shape), stream.dtype)

        def one(place: int) -> None:
            records = found[place]
            if isinstance(records, stored.DamagedRecord):
                damaged[place] = records
                return
            row = int(rows[place])
            try:
                stream.fill(out[place], records, row, frames[place], valid[place],
                            None if made is None else made[place])
            except (ValueError, IndexError) as error:
                damaged[place] = stored.damaged(stream.column, row, int(needs[place][0]), error)

        list(self._pool.map(one, [place for place, wanted in enumerate(needs) if len(wanted)]))
        return out


def _zeros(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    size = int(np.prod(shape)) * dtype.itemsize
    buffer = np.zeros(size + _ALIGNMENT, np.uint8)
    first = -buffer.ctypes.data % _ALIGNMENT
    return buffer[first:first + size].view(dtype).reshape(shape)
