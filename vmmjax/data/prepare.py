"""The write side of a store: catalog, then one column after another, shard by shard in spawned processes."""

import csv
import dataclasses
import fcntl
import hashlib
import importlib.metadata
import io
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax import atomic
from vmmjax.data import catalog, shards
from vmmjax.data.columns import Column, chunk_frames
from vmmjax.data.sources import Clip
from vmmjax.data.store import FORMAT
from vmmjax.errors import UserError

CLIPS_A_SHARD = 128
_PACKAGES = ('array-record', 'av', 'jaxlib', 'librosa', 'numpy', 'opencv-contrib-python-headless')


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a call found and did.

    Attributes:
      clips: clips in the catalog.
      made: columns that were written or completed.
      found: columns that were complete before.
      rejected: lines of rejected.csv.
    """

    clips: int
    made: tuple[str, ...]
    found: tuple[str, ...]
    rejected: int


def prepare(clips: Sequence[Clip], folder: Path, columns: Sequence[Column], *, origin: str, workers: int,
            progress: bool = True) -> Summary:
    """Makes a store, or adds to it what is missing.

    Args:
      clips: what `sources.read` found.
      folder: the store.
      columns: what to make of every clip.
      origin: name of the source, and what else makes it this one (a seed); recorded in the store.
      workers: processes.
      progress: whether progress bars are shown.

    Raises:
      UserError: for a store of another source, a column of other options, a folder that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _only_one(folder):
            atomic.remove_leftovers(folder)
            _make_catalog(clips, folder, origin, workers, progress)
            rows = catalog.read(folder)
            paths = {clip.name: clip.path for clip in clips}
            items = tuple((paths[rows[i].path], rows[i]) for i in range(len(rows)))
            made = tuple(column.name for column in columns
                         if _make_column(column, folder, rows.splits, items, workers, progress))
            rejected = _list_rejected(folder)
    except OSError as error:
        raise UserError(f'The store {folder} could not be written: {error.strerror or error}'
                        f'{f" ({error.filename})" if error.filename else ""}; make room or choose another --store.'
                        ) from error
    found = tuple(column.name for column in columns if column.name not in made)
    return Summary(clips=len(items), made=made, found=found, rejected=rejected)


def _make_catalog(clips: Sequence[Clip], folder: Path, origin: str, workers: int, progress: bool) -> None:
    """Writes the catalog and, last, store.json; does nothing if they are there and of the same source."""
    texts = [[clip.name, clip.split, clip.id, clip.start, clip.end, dict(clip.labels)] for clip in clips]
    source = {'origin': origin, 'sha256': hashlib.sha256(json.dumps(texts).encode()).hexdigest()}
    file = folder / 'store.json'
    if file.exists():
        meta = json.loads(file.read_text())
        if meta['format'] != FORMAT:
            raise UserError(f'The store {folder} has format {meta["format"]}, this vmmjax writes format {FORMAT}; '
                            f'choose another --store.')
        if meta['source'] != source:
            raise UserError(f'The store {folder} was made from {meta["source"]["origin"]!r}, which is not what '
                            f'--source gives now ({origin!r}, or its rows changed); choose another --store, or '
                            f'delete that one.')
        return
    catalog.build(clips, folder, workers, progress)
    splits = catalog.read(folder).splits
    for name in splits:
        if not (name.isidentifier() and name.isascii()):
            raise UserError(f'The split {name!r} cannot name a file of a TFDS data set; '
                            f'use letters, digits and underscores in the manifest.')
    atomic.write(file, json.dumps({
        'format': FORMAT, 'source': source,
        'splits': {name: [rows.start, rows.stop] for name, rows in splits.items()}}, indent=2) + '\n')


def _make_column(column: Column, folder: Path, splits: dict[str, range], items: Sequence[tuple[Path, catalog.Row]],
                 workers: int, progress: bool) -> bool:
    """Makes what is missing of a column; False if nothing is."""
    target = folder / column.name
    # Versions too: shards of two versions of a codec do not belong together.
    plan = {'kind': column.kind, 'rate': column.rate, 'chunk': chunk_frames(column.rate), 'shape': column.shape,
            'options': dataclasses.asdict(column),  # type: ignore[call-overload]
            'versions': {name: importlib.metadata.version(name) for name in _PACKAGES}}
    plan = json.loads(json.dumps(plan))  # As it will be read back: tuples are lists.
    finished, parts = target / 'column.json', target / 'shards'
    if finished.exists():
        _check_options(column.name, target, json.loads(finished.read_text())['options'], plan['options'])
        _remove_parts(parts)
        return False
    parts.mkdir(parents=True, exist_ok=True)
    begun = parts / 'plan.json'
    if begun.exists():
        earlier = json.loads(begun.read_text())
        _check_options(column.name, target, earlier['options'], plan['options'])
        if earlier != plan:
            raise UserError(f'The column {target} was begun by other versions ({earlier["versions"]}); '
                            f'delete that folder and run the command again.')
    atomic.write(begun, json.dumps(plan))

    jobs = {split: _jobs(column, target, split, rows, items) for split, rows in splits.items()}
    reports = shards.make([job for group in jobs.values() for job in group], column.name, workers, progress)
    done = {split: [(job, reports[job.file]) for job in group] for split, group in jobs.items()}
    every = [report for group in done.values() for _, report in group]
    _save(target / 'lengths.npy', np.array([n for report in every for n in report.lengths], np.int32))
    _save(target / 'sizes.npy', np.array([size for report in every for size in report.sizes], np.int32))
    _save(target / 'offsets.npy', np.cumsum([0, *(n for report in every for n in report.records)], dtype=np.int64))
    _write_tfds(column, target, done)
    atomic.write(finished, json.dumps(plan | {
        'splits': {split: [{'file': job.file.name, 'clips': len(job.clips), 'records': sum(report.records),
                            'bytes': report.bytes, 'sha256': report.sha256} for job, report in group]
                   for split, group in done.items()},
        'failures': [[items[row][1].path, reason] for report in every for row, reason in report.failures],
    }, indent=2) + '\n')
    _remove_parts(parts)
    return True


def _jobs(column: Column, target: Path, split: str, rows: range,
          items: Sequence[tuple[Path, catalog.Row]]) -> list[shards.Job]:
    count = -(-len(rows) // CLIPS_A_SHARD)
    firsts = rows[::CLIPS_A_SHARD]
    return [shards.Job(column, target / f'{column.name}-{split}.array_record-{i:05d}-of-{count:05d}', first,
                       tuple(items[first:min(first + CLIPS_A_SHARD, rows.stop)]))
            for i, first in enumerate(firsts)]


def _write_tfds(column: Column, target: Path,
                done: dict[str, list[tuple[shards.Job, shards.Report]]]) -> None:
    """Describes the column as a TFDS data set."""
    import tensorflow_datasets as tfds  # Workers import this module: it takes them half a second.

    frame: Any = {'picture': tfds.features.Image(shape=(None, None, 3), encoding_format='jpeg'),
                  'flow': tfds.features.Image(shape=(None, None, 1), encoding_format='png'),
                  'array': tfds.features.Tensor(shape=column.shape, dtype=np.float32)}[column.kind]
    template = tfds.core.ShardedFileTemplate(
        data_dir=target, dataset_name=column.name, filetype_suffix='array_record',
        template='{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}')
    tfds.folder_dataset.write_metadata(
        data_dir=target, filename_template=template, check_data=False,
        features=tfds.features.FeaturesDict({
            'frames': tfds.features.Sequence(frame), 'row': np.int64, 'chunk': np.int64}),
        split_infos=[tfds.core.SplitInfo(
            name=split, shard_lengths=[sum(report.records) for _, report in group],
            num_bytes=sum(report.bytes for _, report in group),
            filename_template=template.replace(split=split)) for split, group in done.items()])


def _check_options(name: str, target: Path, there: dict[str, Any], asked: dict[str, Any]) -> None:
    for key in asked:
        if key not in there:
            raise UserError(f'The column {name} in {target.parent} was prepared by an older vmmjax, which did not '
                            f'record {key}; choose another --store, or delete {target} and run again.')
        if there[key] != asked[key]:
            raise UserError(f'The column {name} in {target.parent} was prepared with {key}={there[key]}, not '
                            f'{asked[key]}; ask for {key}={there[key]}, choose another --store, or delete {target} '
                            f'and run again.')


def _list_rejected(folder: Path) -> int:
    """Adds the clips that columns could not decode to rejected.csv; returns its number of lines."""
    file = folder / 'rejected.csv'
    failures = [tuple(failure) for column in sorted(folder.glob('*/column.json'))
                for failure in json.loads(column.read_text())['failures']]
    with open(file, newline='') as lines:
        header, *earlier = [tuple(line) for line in csv.reader(lines)]
    listed = [line for line in earlier if line not in set(failures)] + failures
    if listed != earlier:
        text = io.StringIO()
        csv.writer(text, lineterminator='\n').writerows([header, *listed])
        atomic.write(file, text.getvalue())
    return len(listed)


@contextmanager
def _only_one(folder: Path) -> Iterator[None]:
    """Holds the store; a lock on the folder itself leaves no file, and none is stale after kill -9."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise UserError(f'Another vmmjax prepare is writing {folder}; wait for it, or choose another --store.'
                        ) from error
    finally:
        os.close(handle)


def _remove_parts(parts: Path) -> None:
    for file in parts.glob('*'):
        file.unlink()
    if parts.exists():
        parts.rmdir()


def _save(file: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    atomic.write(file, buffer.getvalue())
