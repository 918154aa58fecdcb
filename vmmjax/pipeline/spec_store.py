"""A store that is not there yet: what it would hold, without a clip."""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax.front_ends import FRONT_ENDS
from vmmjax.pipeline.streams import StreamConfig
from vmmjax.pipeline.text_streams import PREFIX
from vmmjax.store.column import Column, InMemory
from vmmjax.store.store import Store

_SIDE = 32  # Of pictures that no stream crops.


class SpecStore(Store):
    """A store with the columns that a config reads, for a plan: it has shapes and classes, and no records.

    Modalities named `rgb` and `flow` are pictures and motion, `waveform` is sound, and any other is a spectrogram of
    ours; `rgb_small` is read as `rgb`.
    """

    def __init__(self, config: Any, *, classes: int, fps: float, bands: int = FRONT_ENDS['log_mel'].bands):
        """Imagines the store of `config.data`.

        Args:
          config: of the training.
          classes: of every target.
          fps: frames a second of pictures and motion.
          bands: of spectrograms.
        """
        rows = max(classes, 2)
        self.name, self.path, self.fingerprint = 'an imagined store', Path(), ''
        self.splits = {split: range(rows) for split in ('train', 'validation', 'test')}
        seconds = max(60.0, 2 * config.data.window.seconds)
        self.durations = np.full(rows, seconds)
        self._classes = classes
        side = max((_side(stream) for stream in config.data.streams.values() if 'size' in stream and stream.size),
                   default=_SIDE)
        modalities = {stream.modality for stream in config.data.streams.values()}
        self.columns = {name: _column(name, rows, seconds, fps, side, bands) for name in modalities
                        if not name.startswith(PREFIX)}

    def __len__(self) -> int:
        """As many clips as classes, at least two."""
        return len(self.durations)

    def values(self, name: str) -> np.ndarray:
        """Numbers from 0 on, as texts: one a class of a label, different words of a text."""
        width = len(str(len(self)))
        return np.array([f'{row:0{width}}' for row in range(len(self))])

    def classes(self, name: str) -> list[str]:
        """As many as were asked for."""
        return self.values(name).tolist()[:self._classes]

    def clip(self, row: int) -> str:
        """Its number."""
        return str(row)

    def has_values(self, name: str) -> bool:
        """None but those that a config names."""
        return False


def _side(stream: Any) -> int:
    """Of square pictures in whose region, of whole pixels, a stream's crop has room."""
    top, left, bottom, right = stream.region if 'region' in stream else StreamConfig.region
    return math.ceil((stream.size + 2) / min(bottom - top, right - left))


def _column(name: str, rows: int, seconds: float, fps: float, side: int, bands: int) -> Column:
    kind = re.split(r'\W|_', name)[0]
    front_end = FRONT_ENDS['log_mel']
    rate, shape, what = {
        'rgb': (fps, (), 'picture'), 'flow': (fps, (), 'flow'), 'waveform': (float(front_end.rate), (), 'array'),
    }.get(kind, (front_end.rate / front_end.hop, (bands,), 'array'))
    lengths = np.full(rows, round(seconds * rate), np.int32)
    sizes = np.full((rows, 2), 0 if what == 'array' else side, np.int32)
    return Column(name=name, kind=what, rate=rate, chunk=1, shape=shape, lengths=lengths,
                  offsets=np.arange(rows + 1, dtype=np.int64) * lengths[0], sizes=sizes,
                  source=InMemory((), name))
