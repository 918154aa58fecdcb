"""The catalog: one row a clip with what its file holds, and what was rejected and why."""

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmmjax import atomic
from vmmjax.data.pool import ordered_map
from vmmjax.data.sources import Clip
from vmmjax.errors import UserError
from vmmjax.media.limits import isolated
from vmmjax.media.probe import MediaError, Probe, probe

_FIRST = ('train', 'validation', 'test')
_MEASURED = ('start', 'end', 'duration', 'fps', 'width', 'height', 'audio_rate')
# The columns before the labels.
FIXED = ('row', 'id', 'split', 'path', *_MEASURED)


@dataclass(frozen=True)
class Row:
    """One clip; its labels are texts in `Catalog.columns`.

    Attributes:
      path: as the source gave it: `Clip.name`.
      split: its name.
      id: the user's own.
      start: seconds in the file.
      end: seconds in the file, no later than its end.
      duration: end - start.
      fps: pictures a second in the file; None without pictures.
      width: of the picture; None without pictures.
      height: likewise.
      audio_rate: samples a second in the file; None without a sound track.
    """

    path: str
    split: str
    id: str
    start: float
    end: float
    duration: float
    fps: float | None
    width: int | None
    height: int | None
    audio_rate: int | None


@dataclass(frozen=True)
class Catalog:
    """A catalog that was read.

    Attributes:
      splits: the rows of each split, in the catalog's order.
      columns: every column of catalog.csv in its order, one text a row.
    """

    splits: dict[str, range]
    columns: dict[str, list[str]]

    def __len__(self) -> int:
        return len(self.columns['row'])

    def __getitem__(self, row: int) -> Row:
        """The row's measured part, with types."""
        text = {name: values[row] for name, values in self.columns.items()}
        return Row(text['path'], text['split'], text['id'], float(text['start']), float(text['end']),
                   float(text['duration']), float(text['fps']) if text['fps'] else None,
                   *(int(text[name]) if text[name] else None for name in ('width', 'height', 'audio_rate')))


def build(clips: Sequence[Clip], folder: Path, workers: int, progress: bool = True) -> None:
    """Probes every file and writes `catalog.csv`, `rejected.csv` and `damaged.csv`, each whole or not at all.

    Rows are ordered by split (train, validation, test, then others as they appear), within a split as given.
    A clip whose file cannot be read, or that starts after its file's end, goes to `rejected.csv`; an end past
    the file's is brought back to it. What of the files in the catalog is damaged, or lacking though declared, goes to
    `damaged.csv`, which is there only if there is such. The same clips give the same bytes, whatever the number of
    workers.

    Args:
      clips: with the same labels each.
      folder: made if need be.
      workers: processes.
      progress: whether a progress bar is shown.

    Raises:
      UserError: where no clip can be read (nothing is written then) or the folder cannot be written.
    """
    splits = list(dict.fromkeys((*_FIRST, *(clip.split for clip in clips))))
    ordered = sorted(clips, key=lambda clip: splits.index(clip.split))  # Stable.
    files = list(dict.fromkeys(clip.path for clip in ordered if not clip.fault))
    probes = ordered_map(_probe, files, workers=workers, label='probing files', progress=progress, chunk=16)
    found: dict[Path, Probe | str] = dict(zip(files, probes, strict=True))
    rows: list[list[object]] = []
    rejected: list[list[object]] = []
    damaged: dict[str, str] = {}
    for clip in ordered:
        result = clip.fault or found[clip.path]
        if isinstance(result, Probe) and (clip.start or 0.0) >= result.duration:
            result = f'it starts at {clip.start} s, but the file ends at {result.duration:.2f} s'
        if isinstance(result, str):
            rejected.append([clip.name, result])
        else:
            if result.damage:
                damaged[clip.name] = result.damage
            rows.append([len(rows), clip.id, clip.split, clip.name, *_measured(clip, result),
                         *clip.labels.values()])
    if not rows:
        name, reason = rejected[0]
        raise UserError(f'None of the {len(clips)} clips can be read; the first, {name}: {reason}.')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        atomic.write_csv(folder / 'rejected.csv', [['path', 'reason'], *rejected])
        (folder / 'damaged.csv').unlink(missing_ok=True)
        if damaged:
            atomic.write_csv(folder / 'damaged.csv', [['path', 'damage'], *damaged.items()])
        atomic.write_csv(folder / 'catalog.csv', [[*FIXED, *clips[0].labels], *rows])
    except OSError as error:
        raise UserError(f'The catalog in {folder} cannot be written: {error.strerror}.') from error


def count_damaged(folder: Path) -> int:
    """How many files are listed in a folder's `damaged.csv`."""
    try:
        with open(folder / 'damaged.csv', newline='', encoding='utf-8') as file:
            return len(list(csv.reader(file))) - 1
    except FileNotFoundError:
        return 0


def _probe(path: Path) -> Probe | str:
    """What the file holds, or why it is rejected."""
    try:
        found, = isolated(path, _probed, path)
    except MediaError as error:
        return error.reason
    return found


def _probed(path: Path) -> Iterator[Probe]:
    """In a process that a damaged file may hang or crash."""
    yield probe(path)


def _measured(clip: Clip, file: Probe) -> list[object]:
    """The columns of `_MEASURED`; seconds to a microsecond."""
    start = clip.start or 0.0
    end = file.duration if clip.end is None else min(clip.end, file.duration)
    fps = None if file.fps is None else round(file.fps, 6)
    times = [round(start, 6), round(end, 6), round(end - start, 6)]
    values = [*times, fps, file.width, file.height, file.audio_rate]
    return ['' if value is None else value for value in values]


def read(folder: Path) -> Catalog:
    """Reads a folder's `catalog.csv`.

    Raises:
      UserError: where there is none.
    """
    path = folder / 'catalog.csv'
    if not path.is_file():
        raise UserError(f'There is no catalog {path}: make one with `vmmjax prepare`.')
    with path.open(newline='', encoding='utf-8') as file:
        header, *rows = csv.reader(file)
    columns = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    splits = {}
    for name in dict.fromkeys(columns['split']):
        first = columns['split'].index(name)
        splits[name] = range(first, first + columns['split'].count(name))
    return Catalog(splits, columns)
