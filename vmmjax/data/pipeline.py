"""A store to clip batches, with tf.data: each batch is a function of (store, config, seed, step)."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from vmmjax.data import augment, sampling
from vmmjax.data.store import Store
from vmmjax.data.streams import Stream, StreamConfig
from vmmjax.errors import UserError, did_you_mean

# Enough to keep a step fed while most of the machine trains; memory is bounded by the batches in flight.
_PARALLEL_BATCHES = 2
_PREFETCH = 2
_THREADS = 4

_Options = TypeVar('_Options')


@dataclasses.dataclass(frozen=True)
class AugmentConfig:
    """`data.augment`; in training only.

    Attributes:
      crop: a random place of the crop (one for all picture streams of a clip) instead of the centre.
      color: strength of the change of brightness, contrast and saturation.
      flip: probability of mirroring left and right; 0 unless the labels allow it.
      flip_pairs: pairs of target values that a flip swaps.
    """

    crop: bool = True
    color: float = 0.0
    flip: float = 0.0
    flip_pairs: tuple[tuple[str, str], ...] = ()


class Pipeline:
    """Clip batches of one split.

    A batch is a flat dict of NumPy arrays. Per stream s: `s` (uint8 (B, T, size, size, 3 or 2) or float32
    (B, F, M)), `valid/s` bool (B, T), `present/s` bool (B,); zeros where absent or outside the clip. Then
    `target/<name>` int32 (B,), -1 where the catalog has none; `mask` float32 (B,), 0 for padding; `id` int32
    (B,), the catalog row, -1 for padding.

    Attributes:
      classes: sorted values of the target; a target is an index into it.
      steps: batches that cover the split once; in training whole ones, at least 1.
    """

    def __init__(self, store: Store, config: Mapping[str, Any], *, split: str, batch_size: int, train: bool,
                 seed: int):
        """Checks the config against the store; reads no record.

        Args:
          store: the store.
          config: `config.data`.
          split: rows to read.
          batch_size: clips a batch over all processes.
          train: endless, shuffled and augmented; otherwise once, in order, the last batch padded.
          seed: of order and augmentation.

        Raises:
          UserError: names what the store lacks or what the config misnames.
        """
        self._store, self._split, self._batch, self._train, self._seed = store, split, batch_size, train, seed
        self._rows = store.rows(split)
        self._seconds = float(config['window']['seconds'])
        self._start = config['window']['start']
        self._augment = _options(AugmentConfig, config['augment'], 'data.augment')
        if not config['streams']:
            raise UserError('The config has no streams; add one, such as data.streams.audio = '
                            f'dict(modality={next(iter(store.columns), "audio")!r}).')
        self._streams = [Stream(name, _options(StreamConfig, options, f'data.streams.{name}'), store, self._rows,
                                self._seconds)
                         for name, options in config['streams'].items()]
        names = [stream.name for stream in self._streams]
        for name in config['dropout']:
            if name not in names:
                raise UserError(f'data.dropout names {name!r}, which is no stream: {did_you_mean(name, names)}.')
        self._rates = np.array([config['dropout'].get(name, 0.0) for name in names])
        self._target = config['target']
        self.classes = store.classes(self._target)
        codes = {value: code for code, value in enumerate(self.classes)} | {'': -1}
        self._targets = np.array([codes[value] for value in store.values(self._target).tolist()])
        self._mirrored = self._mirrored_targets()
        self.steps = max(1, len(self._rows) // batch_size) if train else -(-len(self._rows) // batch_size)

    @property
    def spec(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of every key of a whole batch, over all processes."""
        return {key: (tuple(spec.shape), np.dtype(spec.dtype.as_numpy_dtype))
                for key, spec in self._specs(self._batch).items()}

    def summary(self) -> str:
        """The stages, one a line."""
        order = f'shuffled every epoch from seed {self._seed}' if self._train else 'in order, the last one padded'
        start = 'anywhere in the clip' if self._start is None else f'from {self._start[0]:g} to {self._start[1]:g} s'
        lines = [f'rows     {self._split}: {len(self._rows)} clips, batches of {self._batch}, {order}',
                 f'window   {self._seconds:g} s, starts {start}' + ('' if self._train else ' (the middle of it)')]
        lines += [f'stream   {stream}' for stream in self._streams]
        if self._train:
            change = self._augment
            lines.append(f'augment  crop {"anywhere" if change.crop else "centre"}, colour {change.color:g}, '
                         f'flip {change.flip:g}')
            lines.append('dropout  ' + ', '.join(
                f'{stream.name} {rate:g}' for stream, rate in zip(self._streams, self._rates, strict=True)))
        return '\n'.join([*lines, f'target   {self._target}: {len(self.classes)} classes'])

    def batches(self, start_step: int = 0, rows: slice | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Yields batches from a step on: endless in training, `steps` in all in evaluation.

        Args:
          start_step: number of the first batch.
          rows: rows of every batch that this process owns; None for all.
        """
        places = np.arange(self._batch)[slice(None) if rows is None else rows]
        specs = self._specs(len(places))
        # One operation looks a whole batch up: Python costs a batch what it would cost a clip.
        example = self._plan(start_step, places)
        types = [tf.string if value.dtype == object else tf.as_dtype(value.dtype) for value in example.values()]

        def load(step: tf.Tensor) -> dict[str, tf.Tensor]:
            values = tf.numpy_function(lambda step: list(self._plan(int(step), places).values()), [step], types)
            plan = dict(zip(example, values, strict=True))
            for key, value in plan.items():
                value.set_shape((None, *example[key].shape[1:]))
            batch = plan | {
                stream.name: stream.place(stream.augment(stream.decode(plan), plan), plan, len(places))
                for stream in self._streams}
            return {key: tf.ensure_shape(batch[key], spec.shape) for key, spec in specs.items()}

        stop = np.iinfo(np.int64).max if self._train else self.steps
        dataset = tf.data.Dataset.range(start_step, stop)
        dataset = dataset.map(load, num_parallel_calls=_PARALLEL_BATCHES, deterministic=True).prefetch(_PREFETCH)
        options = tf.data.Options()
        options.deterministic = True
        options.autotune.enabled = False
        options.threading.private_threadpool_size = _THREADS
        options.threading.max_intra_op_parallelism = 1
        yield from dataset.with_options(options).as_numpy_iterator()

    def _specs(self, batch: int) -> dict[str, tf.TensorSpec]:
        specs = {}
        for stream in self._streams:
            specs[stream.name] = tf.TensorSpec((batch, *stream.shape), stream.dtype)
            specs[f'valid/{stream.name}'] = tf.TensorSpec((batch, stream.shape[0]), tf.bool)
            specs[f'present/{stream.name}'] = tf.TensorSpec((batch,), tf.bool)
        specs[f'target/{self._target}'] = tf.TensorSpec((batch,), tf.int32)
        return specs | {'mask': tf.TensorSpec((batch,), tf.float32), 'id': tf.TensorSpec((batch,), tf.int32)}

    def _plan(self, step: int, places: np.ndarray) -> dict[str, np.ndarray]:
        """All that a batch needs before decoding: rows, windows, records, crops, targets."""
        positions = step * self._batch + places
        if self._train:
            real = np.ones(len(places), bool)
            rows = self._rows.start + sampling.shuffled_rows(positions, len(self._rows), self._seed)
        else:
            real = positions < len(self._rows)
            rows = self._rows.start + np.where(real, positions, 0)

        def draw(name: str, numbers: int) -> np.ndarray:
            return sampling.uniform(self._seed, positions, name, numbers)

        change, train = self._augment, self._train
        middle = np.full((len(places), 2), 0.5)
        starts = sampling.window_starts(draw('window', 1)[:, 0] if train else middle[:, 0],
                                        self._store.durations[rows], self._seconds, self._start)
        corners = draw('crop', 2) if train and change.crop else middle
        frames = [stream.frames(starts, draw, train) for stream in self._streams]
        valid = [real[:, None] & (wanted >= 0) & (wanted < stream.column.lengths[rows, None])
                 for stream, wanted in zip(self._streams, frames, strict=True)]
        present = np.stack([inside.any(axis=1) for inside in valid], axis=1)
        if train and self._rates.any():
            present = augment.drop_streams(present, self._rates, draw('dropout', len(self._rates) + 1))
        targets = self._targets[rows]

        plan: dict[str, np.ndarray] = {}
        for i, stream in enumerate(self._streams):
            valid[i] &= present[:, i:i + 1]
            plan |= {f'valid/{stream.name}': valid[i], f'present/{stream.name}': present[:, i]}
            plan |= stream.lookup(rows, frames[i], valid[i], corners)
        if train and change.color:
            plan['colour'] = augment.colour_matrices(draw('colour', 3), change.color)
        if train and change.flip:
            plan['flip'] = draw('flip', 1)[:, 0] < change.flip
            targets = np.where(plan['flip'], self._mirrored[targets], targets)
        return plan | {f'target/{self._target}': np.where(real, targets, -1).astype(np.int32),
                       'mask': real.astype(np.float32),
                       'id': np.where(real, rows, -1).astype(np.int32)}

    def _mirrored_targets(self) -> np.ndarray:
        """The target of each target's mirror image; the last entry is that of -1, no target."""
        mirrored = np.append(np.arange(len(self.classes)), -1)
        for left, right in self._augment.flip_pairs:
            for name in (left, right):
                if name not in self.classes:
                    raise UserError(f'data.augment.flip_pairs names {name!r}, which is no value of {self._target!r}: '
                                    f'{did_you_mean(name, self.classes)}.')
            pair = [self.classes.index(left), self.classes.index(right)]
            mirrored[pair] = pair[::-1]
        return mirrored


def _options(kind: type[_Options], given: Mapping[str, Any], where: str) -> _Options:
    """An options dataclass from a part of the config, whose misspelt keys are errors."""
    fields: Any = kind
    known = [field.name for field in dataclasses.fields(fields)]
    for key in given:
        if key not in known:
            raise UserError(f'The config has a key {where}.{key} that nothing reads: {did_you_mean(key, known)}.')
    if kind is StreamConfig and 'modality' not in given:
        raise UserError(f'{where} has no modality; set {where}.modality to a column of the store.')
    return kind(**given)
