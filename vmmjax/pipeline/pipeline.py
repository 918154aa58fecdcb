"""A store to clip batches, with tf.data: each batch is a function of (store, config, seed, step)."""

import logging
import os
from collections.abc import Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from vmmjax.errors import UserError, did_you_mean
from vmmjax.pipeline import options, sampling, tf_batches, training_views
from vmmjax.pipeline.batch_builder import Clips, Filler
from vmmjax.pipeline.streams import Stream
from vmmjax.pipeline.targets import Classes, Targets, WindowBatch
from vmmjax.pipeline.text_streams import TextStream
from vmmjax.pipeline.training_views import view_key
from vmmjax.pipeline.transforms.config import AugmentConfig
from vmmjax.pipeline.transforms.frames import drop_streams
from vmmjax.pipeline.views import ViewsConfig
from vmmjax.store.records import DamagedRecord
from vmmjax.store.store import Store

_ON_DAMAGE = ('stop', 'skip')
_LITTLE = 0.25  # Of the region of a stream; a square inside the usual wide ones has half.

_LOG = logging.getLogger(__name__)


class Pipeline:
    """Clip batches of one split.

    A batch is a flat dict of NumPy arrays. Per stream s: `s` (uint8 (B, T, size, size, channels), float32 (B, F, M) or
    (B, S), int32 (B, L) of a text), `valid/s` bool (B, T) (`s_mask` bool (B, L) of a text), `present/s` bool (B,);
    zeros where absent or outside the clip. Then `target/<name>` int32 (B,), -1 where the catalog has none (targets of
    other kinds: see `labels`); `mask` float32 (B,), 0 for padding and damaged clips; `id` int32 (B,), the catalog row,
    -1 where the mask is 0; `row` int32 (B,), the place in the global batch, whichever process reads it. With mixup or
    CutMix `mix/target` int32 (B,) and `mix/weight` float32 (B,), the other clip's target and share; in evaluation with
    more than one view per clip `view` int32 (B,). A stream with `views` has its three keys for each further view, too,
    as `view1/s`, `view1/valid/s`, `view1/present/s`, see `StreamConfig` and `training.views.view`.

    Attributes:
      classes: sorted values of the target, into which it is an index; of other kinds of targets see `labels`.
      steps: batches that cover the split once; in training whole ones, at least 1.
      texts: the text streams by name; their `vocabulary` belongs to the model.
      skipped: catalog rows that were left out, as a record of theirs is damaged.
    """

    def __init__(self, store: Store, config: Mapping[str, Any], *, split: str, batch_size: int, train: bool,
                 seed: int, threads: int | None = None, labels: Targets | None = None):
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
        self._shares = (store.shares if split == 'train' else ()) or [(self._rows, 1.0)]
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
        named: dict[str, Stream | TextStream] = {stream.name: stream for stream in self._streams} | self.texts
        self._inputs = {name: named[name] for name in config['streams']}
        for name in config['dropout']:
            if name not in named:
                raise UserError(f'data.dropout names {name!r}, which is no stream: {did_you_mean(name, named)}.')
        self._rates = np.array([config['dropout'].get(name, 0.0) for name in self._inputs])
        self._labels = labels or Classes(store, config['target'], self._augment.flip_pairs)
        self.classes = self._labels.classes
        options.check_augment(self._augment, self._views, self._labels, texts=bool(self.texts), batch_size=batch_size,
                              train=train)
        self._mixes = train and self._augment.mixes
        if train:
            training_views.check_training(self._inputs.values(), self._augment, self._labels)
        self._drawn = {name: stream.config.views if train else 1 for name, stream in self._inputs.items()}
        rows = len(self._rows) * len(self._views)
        self.steps = max(1, rows // batch_size) if train else -(-rows // batch_size)

    @property
    def spec(self) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        """Shape and dtype of every key of a whole batch, over all processes."""
        return self._specs(self._batch)

    def summary(self) -> str:
        """The stages, one a line."""
        order = f'shuffled every epoch from seed {self._seed}' if self._train else 'in order, the last one padded'
        if self._train and len(self._shares) > 1:
            order += ', ' + ' and '.join(f'{100 * share:.3g} % of {len(rows)} clips' for rows, share in self._shares)
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
                f'{name} {rate:g}' for name, rate in zip(self._inputs, self._rates, strict=True)))
            lines += [f'views    {stream.name}: {training_views.summary(stream.config)}'
                      for stream in self._inputs.values() if stream.config.views > 1]
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
        tf_batches.close_at_exit(found)
        return found

    def _batches(self, start_step: int, rows: slice | None) -> Generator[dict[str, np.ndarray], None, None]:
        places = np.arange(self._batch)[slice(None) if rows is None else rows]
        if self._mixes and (len(places) % 2 or (places[::2] % 2).any() or (np.diff(places)[::2] != 1).any()):
            raise UserError(f'data.augment.mixup and cutmix mix the pairs (0, 1), (2, 3), ... of a batch, and the rows '
                            f'{places[0]} to {places[-1]} of this process part one; choose a batch size that is a '
                            f'multiple of twice the number of processes.')
        with ThreadPoolExecutor(self._threads) as pool:
            filler = Filler(self._streams, self._rows, self._augment, self._views, pool)
            yield from tf_batches.made(lambda step: self._make(step, places, filler), self._specs(len(places)),
                                       start_step, None if self._train else self.steps)

    def _specs(self, batch: int) -> dict[str, tuple[tuple[int, ...], np.dtype]]:
        codes, floats = np.dtype(np.int32), np.dtype(np.float32)
        specs = {key: of for stream in self._inputs.values() for key, of in stream.specs.items()} | self._labels.specs
        if self._mixes and isinstance(self._labels, Classes):
            specs |= {'mix/target': ((), codes), 'mix/weight': ((), floats)}
        if len(self._views) > 1:
            specs['view'] = ((), codes)
        specs |= {'mask': ((), floats), 'id': ((), codes), 'row': ((), codes)}
        specs |= {view_key(view, key): of for name, stream in self._inputs.items()
                  for view in range(1, self._drawn[name]) for key, of in stream.specs.items()}
        return {key: ((batch, *shape), dtype) for key, (shape, dtype) in specs.items()}

    def _make(self, step: int, places: np.ndarray, filler: Filler) -> dict[str, np.ndarray]:
        """A batch."""
        clips = self._clips(step * self._batch + places)
        rows, real = clips.rows, clips.real
        drawn = [(view, stream, training_views.of_view(clips, view, stream.config))
                 for stream in self._streams for view in range(self._drawn[stream.name])]
        frames = [stream.frames(rows, seen.starts, seen.within, seen.draw, self._train) for _, stream, seen in drawn]
        texts = {(view, name): text.tokens(rows, training_views.draws(clips.draw, view), self._train)
                 for name, text in self.texts.items() for view in range(self._drawn[name])}
        inside = {(view, stream.name): real[:, None] & stream.valid(rows, wanted)
                  for (view, stream, _), wanted in zip(drawn, frames, strict=True)}
        inside |= {which: real[:, None] & mask for which, (_, mask) in texts.items()}
        stays = self._stays(np.stack([inside[0, name].any(axis=1) for name in self._inputs], axis=1), clips)

        batch: dict[str, np.ndarray] = {}
        for (view, name), mask in inside.items():
            mask &= stays[name][:, None]
            batch[view_key(view, f'present/{name}')] = mask.any(axis=1)
        for (view, name), (ids, _) in texts.items():
            mask = inside[view, name]
            batch |= {view_key(view, name): np.where(mask.any(axis=1, keepdims=True), ids, 0),
                      view_key(view, f'{name}_mask'): mask}
        damaged: dict[int, DamagedRecord] = {}
        for (view, stream, seen), wanted in zip(drawn, frames, strict=True):
            made = filler.fill(stream, seen, wanted, inside[view, stream.name], damaged, view)
            batch[view_key(view, stream.name)], batch[view_key(view, f'valid/{stream.name}')] = made
        if damaged:
            self._leave_out(damaged, clips, batch)
        mirrors = self._augment.mirrors(clips.draw) if self._train else np.zeros(len(rows), bool)
        seconds = self._seconds or self._store.durations[rows]
        batch |= self._labels.of(WindowBatch(rows, clips.real, mirrors, clips.starts,
                                             np.broadcast_to(seconds, rows.shape)))
        batch |= {'view': clips.views.astype(np.int32),
                  'mask': clips.real.astype(np.float32), 'id': np.where(clips.real, rows, -1).astype(np.int32),
                  'row': places.astype(np.int32)}
        if self._mixes:
            filler.mix(batch, next(iter(self._labels.specs)), clips)
        return batch

    def _stays(self, present: np.ndarray, clips: Clips) -> dict[str, np.ndarray]:
        """Which clips keep each stream in modality dropout, bool (B,); given which have it in view 0, (B, streams)."""
        kept = np.ones_like(present)
        if self._train and self._rates.any():
            draws = clips.draw('dropout', len(self._rates) + 1)
            # In a further view a stream may be there that is not in view 0; it drops out by the same draw.
            kept = drop_streams(present, self._rates, draws) | (~present & (draws[:, :-1] >= self._rates))
        return dict(zip(self._inputs, kept.T, strict=True))

    def _clips(self, positions: np.ndarray) -> Clips:
        """Which clips stand at the positions of a batch, and their windows."""
        def draw(name: str, numbers: int) -> np.ndarray:
            return sampling.uniform(self._seed, positions, name, numbers)

        views = np.zeros(len(positions), np.int64)
        if self._train:
            real = np.ones(len(positions), bool)
            rows = sampling.dealt_rows(positions, self._shares, self._seed)
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

    def _leave_out(self, damaged: dict[int, DamagedRecord], clips: Clips, batch: dict[str, np.ndarray]) -> None:
        """Makes padding of clips, by their place in the batch, with a damaged record, or stops."""
        if not self._skips:
            raise damaged[min(damaged)]
        for place, error in damaged.items():
            row = int(clips.rows[place])
            if row not in self.skipped:
                self.skipped.add(row)
                _LOG.warning('%s Skipped, %d clips so far.', error, len(self.skipped))
            clips.real[place] = False
            for values in batch.values():
                values[place] = 0
