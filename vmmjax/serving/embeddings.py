"""Embeddings of windows, sentences and whole files by the towers of a run that learned to match streams."""

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import jax
import numpy as np

from vmmjax.convert.bundle import is_bundle
from vmmjax.errors import UserError
from vmmjax.pipeline.text_streams import PREFIX
from vmmjax.pipeline.tokenizers import ENDS, PAD, UNKNOWN
from vmmjax.pipeline.windows import SlidingWindows, WindowSpec
from vmmjax.prepare import new_clips
from vmmjax.prepare.memory_store import MemoryStore, absent
from vmmjax.serving import network_inputs
from vmmjax.store import catalog
from vmmjax.store.store import Store
from vmmjax.tasks.contrastive import Contrastive
from vmmjax.tasks.matching import Matching
from vmmjax.training import sharding

if TYPE_CHECKING:
    from vmmjax.prepare.sources.clip import Clip

_TINY = 1e-12


class Embedded(NamedTuple):
    """Some windows.

    Attributes:
      clips: int64 (W,), rows of their store.
      starts: float64 (W,), seconds in the file.
      ends: float64 (W,).
      vectors: by stream float32 (W, D) of length 1; 0 where a window lacks the stream.
    """

    clips: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    vectors: dict[str, np.ndarray]


class Towers:
    """A run that learned to match streams, as what embeds new clips and sentences.

    Attributes:
      reading: how it reads clips.
      identity: SHA-256 of its parameters and running statistics: vectors of two towers compare only where it is the
        same.
      streams: that it embeds, but for texts.
      text: the text stream that it embeds; empty where there is none.
      dimensions: D.
    """

    def __init__(self, folder: str | Path):
        """Loads the newest whole checkpoint.

        Args:
          folder: of the run, or a bundle.

        Raises:
          UserError: where there is none, or for a run of another task.
        """
        self.reading, self._run = network_inputs.of_run(Path(folder))
        task = self._run.task
        if not isinstance(task, Matching):
            raise UserError(f'{folder} is a run of the task {task.name}, whose streams have no embeddings in common; '
                            f'take one of contrastive or retrieval.')
        if isinstance(task, Contrastive) and is_bundle(Path(folder)):
            raise UserError(f'{folder} is a bundle, which leaves out the projectors of the task contrastive; name the '
                            f'folder of the run.')
        names = task.encoded if isinstance(task, Contrastive) else list(task.streams)
        streams = self._run.config.data.streams
        texts = [name for name in names if streams[name].modality.startswith(PREFIX)]
        self.streams = [name for name in names if name not in texts]
        if not self.streams:
            raise UserError(f'{folder} embeds texts alone ({", ".join(texts)}); take a run that embeds clips, too.')
        self.text = texts[0] if texts else ''
        self.dimensions = task.dimensions
        self.identity = _identity(self._run.variables)
        self._names = [*self.streams, *texts[:1]]

    @property
    def window(self) -> float:
        """Seconds of a window; 0 for whole clips."""
        return self.reading.window

    def of_store(self, store: Store, rows: np.ndarray, cut: WindowSpec, batch_size: int = 8) -> Iterator[Embedded]:
        """Yields the windows of clips of a store, in order, some at a time.

        Args:
          store: read as the run reads its own.
          rows: int64 (N,), catalog rows in ascending order.
          cut: how clips are cut into windows.
          batch_size: windows that the network sees at a time.

        Raises:
          UserError: where a record is damaged, or for embeddings that are not finite.
        """
        run = self._run
        size = batch_size * sharding.row_shards(run.batch_sharding)
        windows = SlidingWindows(store, self.reading.data, rows, cut=cut, batch_size=size)
        offsets = store.values('start').astype(np.float64)
        for step, batch in enumerate(windows.batches(rows=sharding.local_rows(run.batch_sharding, size))):
            numbers = np.where(batch['mask'] > 0, step * size + batch['row'], -1).astype(np.int32)
            found = next(iter(run.predictions_of([{**batch, 'id': numbers}], [], subsets=False).values()))
            clips, places = windows.clips[found.id], found.id
            yield Embedded(clips, offsets[clips] + windows.starts[places], offsets[clips] + windows.ends[places],
                           {name: _unit(found.scores[name], found.present[name]) for name in self._names})

    def of_files(self, clips: 'list[Clip]', cut: WindowSpec, batch_size: int = 8
                 ) -> Iterator[tuple[int, Embedded | UserError]]:
        """Yields by place of each file its windows, some at a time, or why it cannot be read; see `of_store`.

        The next file is read meanwhile.
        """
        for place, group in enumerate(new_clips.in_groups(self.reading.inputs, clips, 1)):
            for error in (*group.errors.values(), *group.empty.values()):
                yield place, error
            if not group.errors and not group.empty:
                for found in self.of_store(group.store, np.arange(1), cut, batch_size):
                    yield place, found

    def of_file(self, clip: 'Clip') -> np.ndarray:
        """One vector of a file, float32 (D,) of length 1: of the mean of its windows and streams.

        Raises:
          UserError: where it cannot be read or has nothing that the run embeds.
        """
        total, any_there = np.zeros(self.dimensions), False
        for _, found in self.of_files([clip], WindowSpec(self.window)):
            if isinstance(found, UserError):
                raise found
            for name in self.streams:
                total += found.vectors[name].sum(0, dtype=np.float64)
                any_there |= bool(found.vectors[name].any())
        if not any_there:
            raise UserError(f'{clip.id} has nothing that the run embeds ({", ".join(self.streams)}).')
        return _unit(total[None], np.ones(1, bool))[0]

    def of_text(self, text: str) -> np.ndarray:
        """The vector of a sentence, float32 (D,) of length 1.

        Raises:
          UserError: for a run that embeds no texts, and a sentence of which it knows no word.
        """
        if not self.text:
            raise UserError(f'The run embeds {", ".join(self.streams)} and no texts, so that no sentence can ask; ask '
                            f'with a file.')
        store = self._store_of(text)
        vocabulary = self.reading.inputs['texts'][self.text]['vocabulary']
        windows = SlidingWindows(store, self.reading.data, np.arange(1), cut=WindowSpec(self.window), batch_size=1)
        ids = next(iter(windows.batches()))[self.text][0]
        if {vocabulary[place] for place in ids.tolist()} <= {PAD, UNKNOWN, *sum(ENDS, ())}:
            raise UserError(f'The run knows no word of {text!r}; ask in the words of its training texts.')
        (found,) = self.of_store(store, np.arange(1), WindowSpec(self.window), 1)
        return found.vectors[self.text][0]

    def _store_of(self, text: str) -> MemoryStore:
        """A store of one clip that has that text and nothing else."""
        inputs = self.reading.inputs
        read = [name for each in inputs['texts'].values() for name in (each['column'], *each['hide'])]
        labels = [name for name in dict.fromkeys(read) if name not in catalog.FIXED]
        seconds = self.window or 1.0
        fixed = dict.fromkeys(catalog.FIXED, '') | {
            'row': '0', 'id': 'the question', 'split': new_clips.SPLIT, 'start': '0.0', 'end': str(seconds),
            'duration': str(seconds)}
        asked = inputs['texts'][self.text]['column']
        values = fixed | {name: text if name == asked else '' for name in labels}
        columns = [absent(name, record['kind'], record['rate'], tuple(record['shape']), 1)
                   for name, record in inputs['columns'].items()]
        return MemoryStore('of the question', catalog.of_rows(list(values), [list(values.values())]), columns,
                           vocabularies={name: each['vocabulary'] for name, each in inputs['texts'].items()})


def _unit(x: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Of length 1, float32; 0 where it is not there.

    Raises:
      UserError: for numbers that are not finite.
    """
    x = np.where(there[:, None], x, 0).astype(np.float64)
    if not np.isfinite(x).all():
        raise UserError('The run gives embeddings that are not finite; its training diverged, take an earlier one.')
    found: np.ndarray = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), _TINY)
    return found.astype(np.float32)


def _identity(variables: object) -> str:
    """SHA-256 of the leaves of a tree with their paths."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(variables)[0]:
        values = np.asarray(leaf)
        digest.update(f'{jax.tree_util.keystr(path)} {values.dtype} {values.shape}'.encode())
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()
