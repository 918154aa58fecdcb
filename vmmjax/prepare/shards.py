"""The shards of a column: the units of work of `vmmjax prepare`, each whole or not there at all.

This runs in spawned processes, so it must be quick to import: no TensorFlow (`tensorflow_datasets.proto`
carries the messages of `tf.train.Example` without it).
"""

import contextlib
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter

from vmmjax import atomic
from vmmjax.checksum import sha256
from vmmjax.errors import UserError
from vmmjax.media.limits import isolated
from vmmjax.media.probe import MediaError
from vmmjax.prepare import fingerprint, records
from vmmjax.prepare.columns import ColumnBuilder, stored
from vmmjax.store.catalog import ClipInfo

# One record a group, for random access; pictures are compressed already, and sound hardly shrinks.
_WRITER_OPTIONS = 'group_size:1,uncompressed'


@dataclasses.dataclass(frozen=True)
class Job:
    """A shard to be made.

    Attributes:
      column: what is made of the clips.
      file: the shard.
      first: catalog row of the first clip.
      clips: path and catalog row of each.
      contents: what `fingerprint.of` found in each one's file when the catalog was made.
    """

    column: ColumnBuilder
    file: Path
    first: int
    clips: tuple[tuple[Path, ClipInfo], ...]
    contents: tuple[str, ...]

    @property
    def report_file(self) -> Path:
        """Where the report of the finished shard is kept until the column is complete."""
        return self.file.parent / 'shards' / f'{self.file.name}.json'


@dataclasses.dataclass
class Report:
    """What a shard holds; one entry a clip in the lists.

    Attributes:
      records: number of records.
      lengths: number of frames.
      sizes: height and width of pictures, zeros otherwise.
      failures: (catalog row, reason) of each clip that could not be decoded, or whose file is no longer the one of
        the catalog.
      bytes: size of the file.
      sha256: of the file.
    """

    records: list[int] = dataclasses.field(default_factory=list)
    lengths: list[int] = dataclasses.field(default_factory=list)
    sizes: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    failures: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    bytes: int = 0
    sha256: str = ''


def write(job: Job, done: Callable[[], None]) -> Report:
    """Makes a shard and then its report, each under a temporary name that is renamed at the end.

    Args:
      job: the shard.
      done: called after each clip; what it raises stops the shard.

    Raises:
      UserError: where the shard cannot be written. Nothing of it is left then.
    """
    try:
        with atomic.replacing(job.file) as partial:
            report = _write_records(job, partial, done)
        atomic.write(job.report_file, json.dumps(dataclasses.asdict(report)))
    except OSError as error:
        raise UserError(f'{job.file} could not be written: {error.strerror or error}; make room or choose another '
                        f'--store, then the same command goes on with what is missing.') from error
    return report


def read_report(job: Job) -> Report | None:
    """The report of a finished shard, or None if it is still to be made."""
    if not job.report_file.exists():
        return None
    report = Report(**json.loads(job.report_file.read_text()))
    whole = job.file.exists() and job.file.stat().st_size == report.bytes
    return report if whole else None


def read(column: ColumnBuilder, path: Path, clip: ClipInfo) -> tuple[list[bytes] | np.ndarray, tuple[int, int]]:
    """All frames of a clip as they are stored, and the height and width of its pictures.

    The file is read in a process of its own, see `media.limits`.

    Args:
      column: what is made of the clip.
      path: its file.
      clip: its row of the catalog.

    Returns:
      Encoded pictures, or float32 (T, ...); and zeros for the size of an array, or of no picture.

    Raises:
      UserError: for a file that cannot be decoded.
    """
    parts, size = _read_parts(column, path, clip)
    if column.kind == 'array':
        return np.concatenate(parts), size
    return [frame for part in parts for frame in part], size


def _write_records(job: Job, temporary: Path, done: Callable[[], None]) -> Report:
    report = Report()
    with _errors_of(temporary):
        writer = ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)
    try:
        for i, (path, clip) in enumerate(job.clips):
            row = job.first + i
            parts: list[list[bytes] | np.ndarray]
            try:
                fingerprint.check(path, job.contents[i])
                parts, size = _read_parts(job.column, path, clip)
            except UserError as error:
                reason = error.reason if isinstance(error, MediaError) else str(error).replace(str(path), clip.path)
                report.failures.append((row, f'{job.column.name}: {reason}'))
                parts, size = [[]], (0, 0)
            with _errors_of(temporary):
                for chunk, part in enumerate(parts):
                    writer.write(records.serialize(part, row, chunk))
            report.records.append(len(parts))
            report.lengths.append(sum(map(len, parts)))
            report.sizes.append(size)
            done()
    finally:
        with _errors_of(temporary):
            writer.close()
    report.bytes, report.sha256 = temporary.stat().st_size, sha256(temporary)
    return report


def parts(column: ColumnBuilder, pieces: Iterable[tuple[list[bytes] | np.ndarray, tuple[int, int]]]
          ) -> Iterator[tuple[list[bytes] | np.ndarray, tuple[int, int]]]:
    """Cuts what `columns.stored` yields into records.

    Yields:
      The frames of a record, at least once, and the height and width of pictures.
    """
    step, size, given = records.chunk_frames(column.kind, column.rate), (0, 0), False
    left: list[bytes] | np.ndarray = np.zeros((0, *column.shape), np.float32) if column.kind == 'array' else []
    for piece, size in pieces:
        left = np.concatenate([left, piece]) if isinstance(piece, np.ndarray) else [*left, *piece]
        whole = len(left) - len(left) % step
        for begin in range(0, whole, step):
            given = True
            yield left[begin:begin + step].copy(), size
        left = left[whole:]
    if len(left) or not given:
        yield left, size


def _read_parts(column: ColumnBuilder, path: Path, clip: ClipInfo
                ) -> tuple[list[list[bytes] | np.ndarray], tuple[int, int]]:
    """All frames of a clip as they are stored, by records, of which there is at least one; their pictures' size."""
    found, sizes = zip(*parts(column, isolated(path, stored, column, path, clip)), strict=True)
    return list(found), sizes[-1]


@contextlib.contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    """ArrayRecord reports a full disk as a RuntimeError; this makes it the OSError it is."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error)) from error
