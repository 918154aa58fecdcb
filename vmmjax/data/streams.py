"""One stream of a clip batch: which records and frames it needs, and their decoding inside tf.data."""

import dataclasses
import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from vmmjax import registry
from vmmjax.data import augment, sampling
from vmmjax.data.store import Store
from vmmjax.errors import UserError

CHANNELS = {'picture': 3, 'flow': 2}  # Of the kinds of columns that are pictures.
_PARALLEL_FRAMES = 8

Draw = Callable[[str, int], np.ndarray]  # (name, numbers) -> float64 (B, numbers), see `sampling.uniform`.
Plan = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class StreamConfig:
    """What one encoder reads: an entry of `data.streams`.

    Attributes:
      modality: column of the store.
      frames: sampled frames over the window; None takes every frame in it.
      sampling: `dense`, `segments`, `shuffled` or `package.module:Name`, see `sampling.Sampling`.
      size: side of the square crop in pixels, for pictures and flow.
      region: top, left, bottom, right as fractions of the picture; the crop lies inside.
    """

    modality: str
    frames: int | None = None
    sampling: str = 'dense'
    size: int | None = None
    region: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)


class Stream:
    """Reads one stream of a store.

    Attributes:
      name: of the stream, the batch's key.
      column: the store's column it reads.
      shape: of a clip: (T, size, size, 3 or 2) or (F, M).
      dtype: uint8 for pictures and flow, float32 for arrays.
    """

    def __init__(self, name: str, config: StreamConfig, store: Store, rows: range, seconds: float):
        """Checks the stream against the store.

        Args:
          name: of the stream.
          config: its options.
          store: where its column is.
          rows: the split's.
          seconds: length of the window.

        Raises:
          UserError: names the column that is not there, the sampling nobody knows, or the clip too small to crop.
        """
        self.name, self.config = name, config
        self.column = store.column(config.modality)
        self._seconds = seconds
        self._sampling = registry.find(config.sampling, sampling.SAMPLINGS, 'sampling')
        frames = config.frames or sampling.all_frames(np.zeros(1), seconds, self.column.rate).shape[1]
        if self.is_pictures:
            size = self._checked_size(store, rows)
            self.shape: tuple[int, ...] = (frames, size, size, CHANNELS[self.column.kind])
        else:
            self.shape = (frames, *self.column.shape)
        self.dtype = tf.uint8 if self.is_pictures else tf.float32

    @property
    def is_pictures(self) -> bool:
        """Whether frames are decoded and cropped."""
        return self.column.kind in CHANNELS

    def __str__(self) -> str:
        """One line for a summary."""
        how = f'{self.config.frames} frames {self.config.sampling}' if self.config.frames else 'every frame'
        crop = f', {self.config.size} pixels inside {tuple(self.config.region)}' if self.is_pictures else ''
        return f'{self.name}: {self.column.name} at {self.column.rate:g}/s, {how}{crop} -> {self.shape}'

    def frames(self, starts: np.ndarray, draw: Draw, train: bool) -> np.ndarray:
        """Wanted frames of each clip, int64 (B, T), whether or not they exist; `starts` in seconds."""
        if self.config.frames is None:
            return sampling.all_frames(starts, self._seconds, self.column.rate)
        # Streams with as many frames share the draws, so that they see the same instants.
        draws = draw('frames', self.config.frames) if self._sampling is not sampling.dense else (
            np.zeros((len(starts), self.config.frames)))
        return sampling.sampled_frames(starts, self._seconds, self._sampling(draws, train), self.column.rate)

    def lookup(self, rows: np.ndarray, frames: np.ndarray, valid: np.ndarray, corners: np.ndarray) -> Plan:
        """Reads the records of the wanted frames.

        Args:
          rows: int64 (B,), catalog rows.
          frames: int64 (B, T).
          valid: bool (B, T); other frames are not read.
          corners: float64 (B, 2) in [0, 1), the place of the crop.

        Returns:
          `<stream>/records`: serialised examples; for each valid frame, in order, `<stream>/record`: the place
          of its record there, `<stream>/within`: its place in the record, `<stream>/slot`: its place in
          B * T, and for pictures `<stream>/corner`: the crop's upper left pixel.
        """
        clip, _ = np.nonzero(valid)
        frame = frames[valid]
        wanted = self.column.offsets[rows[clip]] + frame // self.column.chunk
        numbers, record = np.unique(wanted, return_inverse=True)
        plan = {'records': np.array(self.column.records(numbers), object),
                'record': record.astype(np.int64),
                'within': frame % self.column.chunk,
                'slot': np.flatnonzero(valid)}
        if self.is_pictures:
            plan['corner'] = augment.crop_corners(corners, self.column.sizes[rows].astype(np.int64), self.shape[1],
                                                  self.config.region)[clip]
        return {f'{self.name}/{key}': value for key, value in plan.items()}

    def decode(self, plan: dict[str, tf.Tensor]) -> tf.Tensor:
        """The V valid frames that `lookup` found, (V, *shape[1:])."""
        parsed = tf.io.parse_example(plan[f'{self.name}/records'], {'frames': tf.io.RaggedFeature(
            tf.string if self.is_pictures else tf.float32, row_splits_dtype=tf.int64)})['frames']
        width = 1 if self.is_pictures else math.prod(self.shape[1:])
        stored = parsed.flat_values if self.is_pictures else tf.reshape(parsed.flat_values, (-1, *self.shape[1:]))
        firsts = parsed.row_starts() // width
        frames = tf.gather(stored, tf.gather(firsts, plan[f'{self.name}/record']) + plan[f'{self.name}/within'])
        if not self.is_pictures:
            return frames
        return tf.map_fn(lambda pair: self._decode_one(*pair), (frames, plan[f'{self.name}/corner']),
                         fn_output_signature=tf.TensorSpec(self.shape[1:], tf.uint8),
                         parallel_iterations=_PARALLEL_FRAMES)

    def augment(self, frames: tf.Tensor, plan: dict[str, tf.Tensor]) -> tf.Tensor:
        """Changes the V valid frames as the plan says: `colour` (B, 4, 3), `flip` (B,), where it has them."""
        clips = plan[f'{self.name}/slot'] // self.shape[0]
        if 'colour' in plan and self.column.kind == 'picture':
            frames = tf.numpy_function(augment.colour, [frames, clips, plan['colour']], tf.uint8)
            frames.set_shape((None, *self.shape[1:]))
        if 'flip' in plan and self.is_pictures:
            frames = augment.flip(frames, tf.gather(plan['flip'], clips), flow=self.column.kind == 'flow')
        return frames

    def place(self, frames: tf.Tensor, plan: dict[str, tf.Tensor], batch: int) -> tf.Tensor:
        """Puts the V valid frames into (batch, *shape); zeros elsewhere."""
        shape = tf.constant((batch * self.shape[0], *self.shape[1:]), tf.int64)
        return tf.reshape(tf.scatter_nd(plan[f'{self.name}/slot'][:, None], frames, shape), (batch, *self.shape))

    def _decode_one(self, encoded: tf.Tensor, corner: tf.Tensor) -> tf.Tensor:
        size = self.shape[1]
        top, left = corner[0], corner[1]
        if self.column.kind == 'picture':
            # Not decode_and_crop_jpeg: it saves little, and differs along the crop's edges.
            picture = tf.io.decode_jpeg(encoded, channels=3, dct_method='INTEGER_ACCURATE')
            return picture[top:top + size, left:left + size]
        both = tf.io.decode_png(encoded, channels=1)[..., 0]
        right = left + tf.cast(tf.shape(both)[1] // 2, tf.int64)
        return tf.stack([both[top:top + size, left:left + size], both[top:top + size, right:right + size]], axis=-1)

    def _checked_size(self, store: Store, rows: range) -> int:
        size = self.config.size
        if not size:
            raise UserError(f'The stream {self.name!r} reads pictures, so it needs a size: set '
                            f'data.streams.{self.name}.size to the side of the crop in pixels.')
        here = np.array(rows)[self.column.lengths[rows.start:rows.stop] > 0]
        low, high = augment.region_bounds(self.column.sizes[here].astype(np.int64), self.config.region)
        room = (high - low).min(axis=1)
        if len(here) and room.min() < size:
            row = here[room.argmin()]
            height, width = self.column.sizes[row]
            raise UserError(
                f'The stream {self.name!r} crops {size} x {size} pixels, but its region {tuple(self.config.region)} '
                f'of the clip {store.values("id")[row]!r} ({height} x {width}) leaves {room.min()}; choose a smaller '
                f'data.streams.{self.name}.size, a larger region, or prepare a store with a larger --short_side.')
        return size
