"""A store to clip batches, with tf.data: each batch is a function of (store, config, seed, step)."""

import atexit
import logging
import os
import weakref
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.pipeline import options, sampling
from vmmjax.pipeline.batch_builder import Clips, Filler
from vmmjax.pipeline.targets import Classes, Labels, Names, WindowBatch
from vmmjax.pipeline.transforms.config import AugmentConfig
from vmmjax.pipeline.transforms.frames import drop_streams
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.store.records import DamagedRecord
from vmmjax.store.store import Store

# Two batches are made at a time, so that one is read while the other is decoded; memory is bounded by those in flight.
_PARALLEL_BATCHES = 2
_PREFETCH = 2
_ON_DAMAGE = ('stop', 'skip')
_LITTLE = 0.25  # Of the region of a stream; a square inside the usual wide ones has half.

_LOG = logging.getLogger(__name__)

# Iterators that somebody still holds when the interpreter ends are closed before: later their threads, waiting for an
# interpreter that is gone, would hold up its end for ever.
_OPEN: weakref.WeakSet[Generator[Any, None, None]] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for batches in list(_OPEN):
        batches.close()


class Pipeline:
    """Clip batches of one split.

    A batch is a flat dict of NumPy arrays. Per stream s: `s` (uint8 (B, T, size, size, channels), float32 (B, F, M) or
    (B, S), int32 (B, L) of a text), `valid/s` bool (B, T) (`s_mask` bool (B, L) of a text), `present/s` bool (B,);
    zeros where absent or outside the clip. Then `target/<name>` int32 (B,), -1 where the catalog has none (targets of
    other kinds: see `labels`); `mask` float32 (B,), 0 for padding and damaged clips; `id` int32 (B,), the catalog row,
    -1 where the mask is 0. With mixup or CutMix `mix/target` int32 (B,) and `mix/weight` float32 (B,), the other clip's
    target and share; in evaluation with more than one view a clip `view` int32 (B,).

    Attributes:
      classes: sorted values of the target, into which it is an index; of other kinds of targets see `labels`.
      steps: batches that cover the split once; in training whole ones, at least 1.
      texts: the text streams by name; their `vocabulary` belongs to the model.
      skipped: catalog rows that were left out, as a record of theirs is damaged.
    """

    def __init__(self, store: Store, config: Mapping[str, Any], *, split: str, batch_size: int, train: bool,
                 seed: int, threads: int | None = None, labels: Labels | None = None):
        """Checks the config against the store; reads no record.

        Args:
          store: the store.
          config: `config.data`.
          split: rows to read.
          batch_size: clips a batch over all processes.
          train: endless, shuffled and augmented; otherwise once, in order, the last batch padded.
          seed: of order and augmentation.
          threads: that decode; None for one a core. Batches do not depend on it.
          labels: what the targets are; None for the classes of the column `config.target`.

        Raises:
          UserError: names what the store lacks or what the config misnames.
        """
        self._store, self._split, self._batch, self._train, self._seed = store, split, batch_size, train, seed
        self._threads = threads or os.cpu_count() or 1
        self._rows = np.asarray(store.rows(split), np.int64)
        self._seconds = float(config['window']['seconds'])
        self._start = config['window']['start']
        if not self._seconds and self._start is not None:
            raise UserError('data.window.seconds is 0, the whole clip, which has no other start; leave '
                            'data.window.start out.')
        self._augment = options.read(AugmentConfig, config['augment'], 'data.augment')
        self._views = ViewsConfig() if train else options.read(ViewsConfig, config['views'], 'data.views')
        if config['on_damage'] not in _ON_DAMAGE:
            raise UserError(f'data.on_damage is {config["on_damage"]!r}: '
                            f'{did_you_mean(str(config["on_damage"]), _ON_DAMAGE)}.')
        self._skips = config['on_damage'] == 'skip'
        self.skipped: set[int] = set()
        self._streams, self.texts = options.streams(config['streams'], store, self._rows, self._seconds)
        for stream in self._streams:
            if train and stream.coverage < _LITTLE:
                _LOG.warning('The stream %r crops %d x %d pixels, %.0f %% of its region: tests see no more of it. '
                             'Prepare a store with a smaller --short_side, or choose a larger data.streams.%s.size.',
                             stream.name, stream.config.size, stream.config.size, 100 * stream.coverage, stream.name)
        # Streams in the order of the config, whatever they read.
        self._names = list(config['streams'])
        for name in config['dropout']:
            if name not in self._names:
                raise UserError(f'data.dropout names {name!r}, which is no stream: {did_you_mean(name, self._names)}.')
        self._rates = np.array([config['dropout'].get(name, 0.0) for name in self._names])
        self._labels = labels or Classes(store, config['target'], self._augment.flip_pairs)
        self.classes = self._labels.classes
        if self._augment.flip_pairs and self._views.crops == 10:
            raise UserError('data.views.crops is 10, which mirrors, but data.augment.flip_pairs says that a mirror '
                            'image has another label; choose 5.')
        self._mixes = train and (self._augment.mixup > 0 or self._augment.cutmix > 0)
        if self._mixes and (self.texts or batch_size % 2):
            raise UserError('data.augment.mixup and cutmix mix pairs of clips: '
                            + ('texts cannot be mixed.' if self.texts else f'the batch size {batch_size} is odd.'))
        if not isinstance(self._labels, Classes) and self._augment.flip_pairs:
            raise UserError('data.augment.flip_pairs swaps classes, and the targets are none; leave it out.')
        if self._mixes and (not isinstance(self._labels, (Classes, Names)) or len(self._labels.specs) > 1):
            raise UserError('data.augment.mixup and cutmix mix the classes or names of one target; leave them out.')
        rows = len(self._rows) * len(self._views)
        self.steps = max(1, rows // batch_size) if train else -(-rows // batch_size)

    @property
    def spec(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of every key of a whole batch, over all processes."""
        return self._specs(self._batch)

    def summary(self) -> str:
        """The stages, one a line."""
        order = f'shuffled every epoch from seed {self._seed}' if self._train else 'in order, the last one padded'
        where = 'anywhere in the clip' if self._start is None else f'from {self._start[0]:g} to {self._start[1]:g} s'
        window = f'{self._seconds:g} s, starts {where}' if self._seconds else 'the whole clip'
        if not self._train:
            views = self._views
            window += ' (the middle of it)' if self._seconds and views.clips == 1 else ''
            window += f', {views.clips} windows x {views.crops} crops a clip' if len(views) > 1 else ''
        lines = [f'rows     {self._split}: {len(self._rows)} clips, batches of {self._batch}, {order}',
                 f'window   {window}']
        lines += [f'stream   {stream}' for stream in (*self._streams, *self.texts.values())]
        if self._train:
            lines.append(f'augment  {self._augment}')
            lines.append('dropout  ' + ', '.join(
                f'{name} {rate:g}' for name, rate in zip(self._names, self._rates, strict=True)))
        lines.append(f'target   {self._labels}')
        return '\n'.join([*lines, f'damage   {"skip the clip" if self._skips else "stop"}'])

    def batches(self, start_step: int = 0, rows: slice | None = None) -> Iterator[dict[str, np.ndarray]]:
        """Batches from a step on: endless in training, `steps` in all in evaluation.

        Args:
          start_step: number of the first batch.
          rows: rows of every batch that this process owns; None for all.

        Raises:
          UserError: for a damaged record, where the config says to stop; for rows that part a pair of mixup.
        """
        found = self._batches(start_step, rows)
        _OPEN.add(found)
        return found

    def _batches(self, start_step: int, rows: slice | None) -> Generator[dict[str, np.ndarray], None, None]:
        places = np.arange(self._batch)[slice(None) if rows is None else rows]
        if self._mixes and (len(places) % 2 or (places[::2] % 2).any() or (np.diff(places)[::2] != 1).any()):
            raise UserError(f'data.augment.mixup and cutmix mix the pairs (0, 1), (2, 3), ... of a batch, and the rows '
                            f'{places[0]} to {places[-1]} of this process part one; choose a batch size that is a '
                            f'multiple of twice the number of processes.')
        import tensorflow as tf  # Takes seconds, which --help and a sentence about a mistake need not wait for.

        specs = self._specs(len(places))
        stopped: dict[int, UserError] = {}
        with ThreadPoolExecutor(self._threads) as pool:
            filler = Filler(self._streams, self._rows, self._augment, self._views, pool)

            def make(step: np.ndarray) -> list[np.ndarray]:
                try:
                    batch = self._make(int(step), places, filler)
                except UserError as error:
                    stopped[int(step)] = error
                    raise
                return [batch[key] for key in specs]

            def load(step: tf.Tensor) -> dict[str, tf.Tensor]:
                # One operation makes a whole batch: its arrays are handed over without a copy.
                values = tf.numpy_function(make, [step], [tf.as_dtype(dtype) for _, dtype in specs.values()])
                return {key: tf.ensure_shape(value, specs[key][0])
                        for key, value in zip(specs, values, strict=True)}

            stop = np.iinfo(np.int64).max if self._train else self.steps
            dataset = tf.data.Dataset.range(start_step, stop)
            dataset = dataset.map(load, num_parallel_calls=_PARALLEL_BATCHES, deterministic=True).prefetch(_PREFETCH)
            how = tf.data.Options()
            how.deterministic = True
            how.autotune.enabled = False
            how.threading.private_threadpool_size = _PARALLEL_BATCHES
            how.threading.max_intra_op_parallelism = 1
            try:
                yield from dataset.with_options(how).as_numpy_iterator()
            except tf.errors.OpError:
                if stopped:
                    raise stopped[min(stopped)] from None
                raise

    def _specs(self, batch: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        specs: dict[str, tuple[tuple[int, ...], np.dtype]] = {}
        flags, codes, floats = np.dtype(bool), np.dtype(np.int32), np.dtype(np.float32)
        streams = {stream.name: stream for stream in self._streams}
        for name in self._names:
            if name in self.texts:
                length = self.texts[name].length
                specs |= {name: ((batch, length), codes), f'{name}_mask': ((batch, length), flags)}
            else:
                stream = streams[name]
                specs |= {name: ((batch, *stream.shape), stream.dtype),
                          f'valid/{name}': ((batch, stream.shape[0]), flags)}
            specs[f'present/{name}'] = ((batch,), flags)
        specs |= {key: ((batch, *shape), dtype) for key, (shape, dtype) in self._labels.specs.items()}
        if self._mixes and isinstance(self._labels, Classes):
            specs |= {'mix/target': ((batch,), codes), 'mix/weight': ((batch,), floats)}
        if len(self._views) > 1:
            specs['view'] = ((batch,), codes)
        return specs | {'mask': ((batch,), floats), 'id': ((batch,), codes)}

    def _make(self, step: int, places: np.ndarray, filler: Filler) -> dict[str, np.ndarray]:
        """A batch."""
        positions = step * self._batch + places
        clips = self._clips(positions)
        rows, real = clips.rows, clips.real
        frames = [stream.frames(rows, clips.starts, clips.within, clips.draw, self._train)
                  for stream in self._streams]
        valid = {stream.name: real[:, None] & stream.valid(rows, wanted)
                 for stream, wanted in zip(self._streams, frames, strict=True)}
        texts = {name: text.tokens(rows, clips.draw, self._train) for name, text in self.texts.items()}
        inside = valid | {name: real[:, None] & mask for name, (_, mask) in texts.items()}
        present = np.stack([inside[name].any(axis=1) for name in self._names], axis=1)
        if self._train and self._rates.any():
            present = drop_streams(present, self._rates, clips.draw('dropout', len(self._rates) + 1))
        there = dict(zip(self._names, present.T, strict=True))
        for name in inside:
            inside[name] &= there[name][:, None]

        batch: dict[str, np.ndarray] = {}
        for name, (ids, _) in texts.items():
            batch |= {name: np.where(inside[name].any(axis=1, keepdims=True), ids, 0).astype(np.int32),
                      f'{name}_mask': inside[name]}
        mirrors = self._augment.mirrors(clips.draw) if self._train else np.zeros(len(rows), bool)
        damaged: dict[int, DamagedRecord] = {}
        for stream, wanted in zip(self._streams, frames, strict=True):
            made = filler.fill(stream, clips, wanted, inside[stream.name], mirrors, damaged)
            batch[stream.name], batch[f'valid/{stream.name}'] = made
        if damaged:
            self._leave_out(damaged, clips, batch, there)
        seconds = self._seconds or self._store.durations[rows]
        batch |= self._labels.of(WindowBatch(rows, clips.real, mirrors, clips.starts,
                                             np.broadcast_to(seconds, rows.shape)))
        batch |= {f'present/{name}': values for name, values in there.items()}
        batch |= {'view': clips.views.astype(np.int32),
                  'mask': clips.real.astype(np.float32), 'id': np.where(clips.real, rows, -1).astype(np.int32)}
        if self._mixes:
            filler.mix(batch, next(iter(self._labels.specs)), clips)
        return batch

    def _clips(self, positions: np.ndarray) -> Clips:
        """Which clips stand at the positions of a batch, and their windows."""
        def draw(name: str, numbers: int) -> np.ndarray:
            return sampling.uniform(self._seed, positions, name, numbers)

        views = np.zeros(len(positions), np.int64)
        if self._train:
            real = np.ones(len(positions), bool)
            rows = self._rows[sampling.shuffled_rows(positions, len(self._rows), self._seed)]
        else:
            real = positions < len(self._rows) * len(self._views)
            rows, views = np.divmod(np.where(real, positions, 0), len(self._views))
            rows = self._rows[rows]

        def starts(rows: np.ndarray, places: np.ndarray) -> np.ndarray:
            seconds = self._seconds or self._store.durations[rows]
            return sampling.window_starts(places, self._store.durations[rows], seconds, self._start)

        # Noise in evaluation is a clip's own, whatever the batches; that of training is another each time.
        noise_keys, noise_of = (positions, 'training') if self._train else (rows, self._split)
        return Clips(
            rows=rows, real=real, views=views, train=self._train, draw=draw, window=starts,
            starts=starts(rows, draw('window', 1)[:, 0] if self._train else self._views.windows(views)),
            within=np.full(len(rows), 0.5) if self._seconds else self._views.within(views),
            draw_noise=lambda name, numbers: sampling.uniform(self._seed, noise_keys, f'{name} of {noise_of}', numbers))

    def _leave_out(self, damaged: dict[int, DamagedRecord], clips: Clips, batch: dict[str, np.ndarray],
                   there: dict[str, np.ndarray]) -> None:
        """Makes padding of clips, by their place in the batch, with a damaged record, or stops."""
        if not self._skips:
            raise damaged[min(damaged)]
        for place, error in damaged.items():
            row = int(clips.rows[place])
            if row not in self.skipped:
                self.skipped.add(row)
                _LOG.warning('%s Skipped, %d clips so far.', error, len(self.skipped))
            clips.real[place] = False
            for values in (*batch.values(), *there.values()):
                values[place] = 0
