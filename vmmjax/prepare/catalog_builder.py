"""Writes the catalog: probes every file, and lists what was rejected and why."""

import csv
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.media.limits import isolated, lacks_memory, unforeseen
from vmmjax.media.probe import MediaError, Probe, probe
from vmmjax.parallel import ordered_map
from vmmjax.prepare.sources import Clip
from vmmjax.store.catalog import FIXED

_FIRST = ('train', 'validation', 'test')


def build(clips: Sequence[Clip], folder: Path, workers: int, progress: bool = True,
          pool: Executor | None = None) -> None:
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
      pool: processes that are there already, which probe in the place of new ones.

    Raises:
      UserError: where no clip can be read (nothing is written then) or the folder cannot be written.
    """
    splits = list(dict.fromkeys((*_FIRST, *(clip.split for clip in clips))))
    ordered = sorted(clips, key=lambda clip: splits.index(clip.split))  # Stable.
    files = list(dict.fromkeys(clip.path for clip in ordered if not clip.fault))
    probes = ordered_map(probed, files, workers=workers, label='probing files', progress=progress, chunk=16,
                         pool=pool)
    found: dict[Path, Probe | str] = dict(zip(files, probes, strict=True))
    rows: list[list[object]] = []
    rejected: list[list[object]] = []
    damaged: dict[str, str] = {}
    for clip in ordered:
        file = clip.fault or found[clip.path]
        row = listed(clip, file)
        if isinstance(row, str):
            rejected.append([clip.name, row])
        else:
            if isinstance(file, Probe) and file.damage:
                damaged[clip.name] = file.damage
            rows.append([len(rows), *row, *clip.labels.values()])
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


def probed(path: Path) -> Probe | str:
    """What the file holds, or why it is rejected."""
    try:
        found, = isolated(path, _probed, path)
    except MediaError as error:
        return error.reason
    return found


def listed(clip: Clip, file: Probe | str) -> list[object] | str:
    """A clip's row of the catalog, without its number and its labels.

    Args:
      clip: which.
      file: what `probed` found.

    Returns:
      The columns of `store.catalog.FIXED` behind `row`, seconds to a microsecond; or why the clip is rejected.
    """
    if isinstance(file, str):
        return file
    start = clip.start or 0.0
    if start >= file.duration:
        return f'it starts at {clip.start} s, but the file ends at {file.duration:.2f} s'
    end = file.duration if clip.end is None else min(clip.end, file.duration)
    values = [start, end, end - start, file.fps, file.width, file.height, file.audio_rate, file.picture_end,
              file.sound_end]
    return [clip.id, clip.split, clip.name, *('' if value is None else round(value, 6) for value in values)]


def _probed(path: Path) -> Iterator[Probe]:
    """In a process that a damaged file may hang or crash; whatever it raises costs this file alone.

    Raises:
      MediaError: where the file cannot be read.
    """
    try:
        yield probe(path)
    except MediaError:
        raise
    except Exception as error:
        if lacks_memory(error):
            raise
        raise unforeseen(path, 'reading what it holds', error) from error
