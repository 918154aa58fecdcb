"""Files as a store: a run reads them as it read the store that it was trained on, which may be gone."""

import dataclasses
from collections.abc import Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax.errors import UserError
from vmmjax.media.probe import MediaError, Probe
from vmmjax.prepare import catalog_builder, shards
from vmmjax.prepare.columns import ColumnBuilder, rebuilt
from vmmjax.prepare.forward import Forward
from vmmjax.prepare.labels import clean
from vmmjax.prepare.memory_store import ColumnInMemory, MemoryStore
from vmmjax.prepare.new_clips import SPLIT
from vmmjax.prepare.sources.clip import Clip
from vmmjax.store import catalog

_LONG = 60.0  # Seconds; longer clips are read forward.
_Stored = tuple[list[bytes] | np.ndarray, tuple[int, int]]  # A clip's frames and their size, see `shards.read`.
_ABSENT: _Stored = [], (0, 0)


class FileStore(MemoryStore):
    """A store with one split, `predict`, whose columns are made of files when it is opened.

    Rows of the catalog, pictures with their JPEG files, motion and sounds come from the functions of `vmmjax prepare`,
    so that the batches of evaluation that a `Pipeline` makes of it are, bit for bit, those of a store that was prepared
    from the same clips by the same versions. What depends on a clip's number differs: `id` counts from 0, and where
    evaluation draws random numbers (a stream's noise, the sampling `shuffled`) they are others.

    Clips of up to a minute lie in memory as they are stored, pictures as JPEG files: of many clips, open one store
    after another for a group of them. A longer one is read forward while batches are made, in bounded memory (see
    `forward.Forward`), but for columns that must see all of it: a waveform that is denoised or trimmed, cepstra, and
    those that do not say how long they become (`columns.Counted`). Where it cannot be decoded to its end, that is
    noticed on the way: the batches raise the `MediaError`.

    Files are read by a process that belongs to the calling thread, which a damaged file may hang or crash; to read
    several at a time, open stores in several threads.

    Attributes:
      places: int64 (rows,), which of the given clips each row is.
      errors: by place in the given clips, why one is no row: its file cannot be read.
      undecoded: by row, the columns that could not be decoded, and why; their streams are absent, as they are in a
        store that was prepared.
      empty: by row, the sentence for a clip that has nothing that the run reads: all its streams are absent, and what
        a network says of it is what it says of nothing.
    """

    def __init__(self, inputs: Mapping[str, Any], clips: Sequence[Clip]):
        """Reads the files.

        Args:
          inputs: what a run recorded, see `vmmjax.pipeline.inputs`.
          clips: see `sources.clip.of_file`; whatever their splits. A text that one does not give is empty.

        Raises:
          UserError: for a column whose class is not there, or a text with a name of the catalog's own; where the
            process that reads was killed.
        """
        builders = {name: rebuilt(name, record) for name, record in inputs['columns'].items()}
        columns = {name: ColumnInMemory(name, builder.kind, builder.rate, tuple(builder.shape),
                                        options=inputs['columns'][name]['options'],
                                        builder=inputs['columns'][name]['builder'])
                   for name, builder in builders.items()}
        texts = [text['column'] for text in inputs['texts'].values()]
        labels = _labels(inputs, clips)
        rows: list[dict[str, str]] = []
        places: list[int] = []
        self.errors: dict[int, MediaError] = {}
        self.undecoded: dict[int, dict[str, UserError]] = {}
        self.empty: dict[int, UserError] = {}
        probes: dict[Path, Probe | str] = {}
        for place, clip in enumerate(clips):
            try:
                if clip.path not in probes:
                    probes[clip.path] = catalog_builder.probed(clip.path)
                row = _row(clip, len(rows), labels, clip.fault or probes[clip.path])
                found, failures = _read(builders, clip.path, catalog.clip_info(row), len(rows))
            except MediaError as error:
                self.errors[place] = error
                continue
            except BrokenProcessPool as error:
                raise UserError(f'The process that reads {clip.path} was killed (out of memory?); give fewer or '
                                f'shorter clips at a time.') from error
            if failures:
                self.undecoded[len(rows)] = failures
            if not any(map(_holds, found.values())) and not any(row[text].strip() for text in texts):
                self.empty[len(rows)] = next(iter(failures.values()), MediaError(
                    clip.path, f'it has nothing that the network reads ({", ".join((*builders, *texts))})'))
            rows.append(row)
            places.append(place)
            for name, column in columns.items():
                made = found[name]
                if isinstance(made, Forward):
                    column.add_source(made, made.length, made.size)
                else:
                    column.add(*made)
        self.places = np.array(places, np.int64)
        name = f'of {clips[0].name if clips else "no file"}{f" and {len(clips) - 1} more" if len(clips) > 1 else ""}'
        super().__init__(
            name, catalog.of_rows([*catalog.FIXED, *labels], [list(row.values()) for row in rows]),
            [column.finished() for column in columns.values()],
            vocabularies={stream: text['vocabulary'] for stream, text in inputs['texts'].items()})
        self.splits.setdefault(SPLIT, range(0))


def _labels(inputs: Mapping[str, Any], clips: Sequence[Clip]) -> list[str]:
    """The catalog columns behind the measured ones: those that texts are read from, and what else clips give."""
    read = [name for text in inputs['texts'].values() for name in (text['column'], *text['hide'])]
    for clip in clips:
        for name in clip.labels:
            if name in catalog.FIXED:
                raise UserError(f'The clip {clip.id} gives a text {name!r}, which the catalog measures itself; give it '
                                f'another name.')
    given = [name for clip in clips for name in clip.labels]
    return [name for name in dict.fromkeys((*read, *given)) if name not in catalog.FIXED]


def _row(clip: Clip, number: int, labels: Sequence[str], file: Probe | str) -> dict[str, str]:
    """A row of the catalog as it would be read from catalog.csv."""
    listed = catalog_builder.listed(dataclasses.replace(clip, split=SPLIT), file)
    if isinstance(listed, str):
        raise MediaError(clip.path, listed)
    values = [number, *listed, *(clean(clip.labels.get(name, '')) for name in labels)]
    return dict(zip([*catalog.FIXED, *labels], map(str, values), strict=True))


def _read(builders: Mapping[str, ColumnBuilder], path: Path, clip: catalog.ClipInfo, row: int
          ) -> tuple[dict[str, _Stored | Forward], dict[str, UserError]]:
    """What each column makes of a clip, and why some cannot."""
    found: dict[str, _Stored | Forward] = {}
    failures = {}
    for name, builder in builders.items():
        count = getattr(builder, 'count', None) if clip.duration > _LONG else None
        try:
            if count is not None and (length := count(clip)):
                found[name] = Forward(builder, path, clip, row, length)
            else:
                found[name] = shards.read(builder, path, clip)
        except UserError as error:
            found[name], failures[name] = _ABSENT, error
    return found, failures


def _holds(made: _Stored | Forward) -> bool:
    return isinstance(made, Forward) or len(made[0]) > 0
