"""The shards of a column: the units of work of `vmmjax prepare`, each whole or not there at all.

This runs in spawned processes, so it must be quick to import: no TensorFlow (`tensorflow_datasets.proto`
carries the messages of `tf.train.Example` without it).
"""

import contextlib
import dataclasses
import hashlib
import json
import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import numpy as np
from array_record.python.array_record_module import ArrayRecordWriter
from tensorflow_datasets.proto import tf_example_pb2
from tqdm import tqdm

from vmmjax import atomic
from vmmjax.data.catalog import Row
from vmmjax.data.columns import Column, chunk_frames, encode
from vmmjax.data.pool import begin_worker
from vmmjax.errors import UserError
from vmmjax.media.probe import MediaError

# One record a group, for random access; pictures are compressed already, and sound hardly shrinks.
_WRITER_OPTIONS = 'group_size:1,uncompressed'
_JOBS_A_WORKER = 2  # Submitted at a time.


@dataclasses.dataclass(frozen=True)
class Job:
    """A shard to be made.

    Attributes:
      column: what is made of the clips.
      file: the shard.
      first: catalog row of the first clip.
      clips: path and catalog row of each.
    """

    column: Column
    file: Path
    first: int
    clips: tuple[tuple[Path, Row], ...]

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
      failures: (catalog row, reason) of each clip that could not be decoded.
      bytes: size of the file.
      sha256: of the file.
    """

    records: list[int] = dataclasses.field(default_factory=list)
    lengths: list[int] = dataclasses.field(default_factory=list)
    sizes: list[tuple[int, int]] = dataclasses.field(default_factory=list)
    failures: list[tuple[int, str]] = dataclasses.field(default_factory=list)
    bytes: int = 0
    sha256: str = ''


def make(jobs: Sequence[Job], label: str, workers: int, progress: bool) -> dict[Path, Report]:
    """Makes the missing shards in a pool of spawned processes; at an error the running ones stop at their next clip.

    Args:
      jobs: all shards, made or not.
      label: what the progress bar says.
      workers: processes.
      progress: whether there is a progress bar; it counts clips.

    Returns:
      The report of every shard by its file.

    Raises:
      UserError: where a shard cannot be written, or a process was killed.
    """
    reports = {job.file: report for job in jobs if (report := read_report(job)) is not None}
    missing = [job for job in jobs if job.file not in reports]
    before = sum(len(report.lengths) for report in reports.values())
    context = multiprocessing.get_context('spawn')  # A fork of a process with TensorFlow's threads hangs.
    clips, stop = context.Value('q', 0), context.Event()
    pool = ProcessPoolExecutor(min(workers, max(1, len(missing))), mp_context=context, initializer=_begin,
                               initargs=(clips, stop))
    bar = tqdm(total=sum(len(job.clips) for job in jobs), initial=before, desc=label, unit='clip',
               disable=not progress, mininterval=0.5)
    waiting, running = iter(missing), dict[Future[Report], Job]()
    try:
        while True:
            while len(running) < workers * _JOBS_A_WORKER and (job := next(waiting, None)) is not None:
                running[pool.submit(_make_shard, job)] = job
            if not running:
                return reports
            finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                reports[running.pop(future).file] = future.result()
            bar.update(before + clips.value - bar.n)
    except BrokenProcessPool as error:
        raise UserError(f'A process was killed while making the column {label} (out of memory?): the same command '
                        f'goes on with what is missing; try fewer --workers.') from error
    finally:
        stop.set()
        pool.shutdown(cancel_futures=True)
        bar.close()


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


def serialize(frames: list[bytes] | np.ndarray, row: int, chunk: int) -> bytes:
    """One record: a `tf.train.Example`, its keys in sorted order, as the features in `prepare` describe it."""
    example = tf_example_pb2.Example()
    feature = example.features.feature
    if isinstance(frames, np.ndarray):
        feature['frames'].float_list.value.extend(frames.ravel().tolist())
    else:
        feature['frames'].bytes_list.value.extend(frames)
    feature['row'].int64_list.value.append(row)
    feature['chunk'].int64_list.value.append(chunk)
    return example.SerializeToString(deterministic=True)


def _write_records(job: Job, temporary: Path, done: Callable[[], None]) -> Report:
    report = Report()
    with _errors_of(temporary):
        writer = ArrayRecordWriter(str(temporary), _WRITER_OPTIONS)
    try:
        for i, (path, clip) in enumerate(job.clips):
            row = job.first + i
            try:
                frames, size = _read(job.column, path, clip)
            except UserError as error:
                reason = error.reason if isinstance(error, MediaError) else str(error).replace(str(path), clip.path)
                report.failures.append((row, f'{job.column.name}: {reason}'))
                frames, size = [], (0, 0)
            step = chunk_frames(job.column.rate)
            records = [frames[begin:begin + step] for begin in range(0, max(1, len(frames)), step)]
            with _errors_of(temporary):
                for chunk, part in enumerate(records):
                    writer.write(serialize(part, row, chunk))
            report.records.append(len(records))
            report.lengths.append(len(frames))
            report.sizes.append(size)
            done()
    finally:
        with _errors_of(temporary):
            writer.close()
    digest = hashlib.sha256()
    with open(temporary, 'rb') as file:
        while block := file.read(1 << 20):
            digest.update(block)
    report.bytes, report.sha256 = temporary.stat().st_size, digest.hexdigest()
    return report


def _read(column: Column, path: Path, clip: Row) -> tuple[list[bytes] | np.ndarray, tuple[int, int]]:
    """All frames of a clip as they are stored, and the size of its pictures."""
    if column.kind == 'array':
        return np.concatenate([np.zeros((0, *column.shape), np.float32), *column.read(path, clip)]), (0, 0)
    frames: list[bytes] = []
    size = (0, 0)
    for piece in column.read(path, clip):
        frames += encode(column.kind, piece)
        size = piece.shape[1:3]
    return frames, size if frames else (0, 0)


@contextlib.contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    """ArrayRecord reports a full disk as a RuntimeError; this makes it the OSError it is."""
    try:
        yield
    except RuntimeError as error:
        raise OSError(str(error)) from error


class _Stopped(Exception):
    """Another process failed, or the user stopped the command."""


_shared: dict[str, Any] = {}  # In a worker: the counter of clips and the event that stops it.


def _begin(clips: Any, stop: Any) -> None:
    begin_worker()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # The parent gets it too, and says when to stop.
    _shared.update(clips=clips, stop=stop)


def _make_shard(job: Job) -> Report:
    def done() -> None:
        with _shared['clips'].get_lock():
            _shared['clips'].value += 1
        if _shared['stop'].is_set():
            raise _Stopped
    return write(job, done)
