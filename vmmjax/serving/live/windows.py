"""Live windows as clip batches, made as those of evaluation are."""

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from vmmjax.pipeline import sampling
from vmmjax.pipeline.batch_builder import Clips, Filler
from vmmjax.pipeline.pipeline import Pipeline
from vmmjax.pipeline.targets import NoTargets
from vmmjax.prepare import records
from vmmjax.prepare.memory_store import MemoryStore
from vmmjax.store import catalog
from vmmjax.store.column import Column

_SPLIT = 'live'
_RECORDS = 1 << 40  # Of a row at most.


@dataclasses.dataclass(frozen=True)
class Window:
    """What is known of one window of one source.

    Attributes:
      start: seconds on the source's clock.
      frames: of each column that is present the number of the first frame, and the frames as they are stored.
      sizes: height and width of each column's pictures.
    """

    start: float
    frames: Mapping[str, tuple[int, Any]]
    sizes: Mapping[str, tuple[int, int]]


class LiveBatches(Pipeline):
    """Batches of windows that are handed over, each equal to that of evaluation for the same window of a file.

    Attributes:
      window: seconds.
      crops: rows of a batch for each window: the test views in space.
    """

    def __init__(self, inputs: Mapping[str, Any], data: Mapping[str, Any], *, window: float, sources: int, seed: int):
        """Takes how a run reads its streams.

        Args:
          inputs: what it has recorded, see `pipeline.inputs`.
          data: `config.data`.
          window: seconds.
          sources: windows of a batch at most.
          seed: the run's.

        Raises:
          UserError: see `Pipeline`.
        """
        self.window, self.crops = window, int(data['views'].get('crops', 1))
        self._columns = {name: _Latest(name, record, sources) for name, record in inputs['columns'].items()}
        streams = {name: {key: value for key, value in stream.items() if key != 'noise'}
                   for name, stream in data['streams'].items()}
        settings = {**data, 'streams': streams, 'window': {'seconds': window, 'start': None}, 'augment': {},
                    'views': {'crops': self.crops}, 'on_damage': 'stop'}
        super().__init__(_store(self._columns, inputs, sources), settings, split=_SPLIT,
                         batch_size=sources * self.crops, train=False, seed=seed, labels=NoTargets())
        self._threads_of_batches = ThreadPoolExecutor(self._threads)
        self._filler = Filler(self._streams, self._rows, self._augment, self._views, self._threads_of_batches)
        self._starts = np.zeros(0)

    def of(self, windows: Sequence[Window], size: int) -> dict[str, np.ndarray]:
        """A clip batch.

        Args:
          windows: at least one; one a row, each seen in all crops; those of one follow each other.
          size: windows of the batch; those that are not there are padding.
        """
        self._starts = np.array([window.start for window in windows])
        for column in self._columns.values():
            column.hold(windows)
        return self._make(0, np.arange(size * self.crops), self._filler)

    def _clips(self, positions: np.ndarray) -> Clips:
        real = positions < len(self._starts) * self.crops
        rows, views = np.divmod(np.where(real, positions, 0), self.crops)
        starts = self._starts[rows]

        def draw(name: str, numbers: int) -> np.ndarray:
            return sampling.uniform(self._seed, positions, name, numbers)

        return Clips(rows=rows, real=real, views=views, train=False, draw=draw, window=lambda rows, places: starts,
                     starts=starts, within=np.full(len(rows), 0.5), draw_noise=draw)


class _Latest:
    """The frames of some windows as the records of a column, row r being window r."""

    def __init__(self, name: str, record: Mapping[str, Any], rows: int) -> None:
        self._kind, self._chunk, self._shape = record['kind'], record['chunk'], tuple(record['shape'])
        self._frames: list[tuple[int, Any]] = []
        self.column = Column(
            name=name, kind=self._kind, rate=record['rate'], chunk=self._chunk, shape=self._shape,
            lengths=np.zeros(rows, np.int64), offsets=_RECORDS * np.arange(rows + 1, dtype=np.int64),
            sizes=np.zeros((rows, 2), np.int32), source=self, options=record['options'], builder=record['builder'])

    def hold(self, windows: Sequence[Window]) -> None:
        """Takes the column's part of some windows."""
        name = self.column.name
        self._frames = [window.frames.get(name, (0, [])) for window in windows]
        self.column.lengths[:] = 0
        self.column.lengths[:len(windows)] = [first + len(frames) for first, frames in self._frames]
        self.column.sizes[:len(windows)] = [window.sizes.get(name, (0, 0)) for window in windows]

    def read(self, indices: np.ndarray) -> list[bytes]:
        """See `store.column.Records`."""
        return [self._record(*divmod(index, _RECORDS)) for index in indices.tolist()]

    def place(self, record: int) -> str:
        """See `store.column.Records`."""
        return f'A frame of {self.column.name}'

    def _record(self, row: int, number: int) -> bytes:
        first, frames = self._frames[row]
        begin = number * self._chunk - first
        part = frames[max(0, begin):begin + self._chunk]
        if self._kind == 'array' and begin < 0:  # What lies before the window is not read.
            part = np.concatenate([np.zeros((-begin, *self._shape), np.float32), part])
        return records.serialize(part, row, number)


def _store(columns: Mapping[str, _Latest], inputs: Mapping[str, Any], rows: int) -> MemoryStore:
    """A row for each window of a batch; texts are empty, so that their streams are absent."""
    texts = [name for text in inputs['texts'].values() for name in (text['column'], *text['hide'])]
    labels = [name for name in dict.fromkeys(texts) if name not in catalog.FIXED]
    values = {'split': _SPLIT, 'start': '0.0', 'end': 'inf', 'duration': 'inf'}
    listed = [[values.get(name, str(row) if name in ('row', 'id') else '') for name in (*catalog.FIXED, *labels)]
              for row in range(rows)]
    return MemoryStore('of live streams', catalog.of_rows([*catalog.FIXED, *labels], listed),
                       [column.column for column in columns.values()],
                       vocabularies={stream: text['vocabulary'] for stream, text in inputs['texts'].items()})
