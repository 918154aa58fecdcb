"""A column beside its shards: the plan they are made by, and the files that complete it once all are there."""

import dataclasses
import importlib.metadata
import io
import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.prepare import shards
from vmmjax.prepare.columns import ColumnBuilder, import_path
from vmmjax.prepare.records import chunk_frames
from vmmjax.prepare.shards import Job, Report
from vmmjax.store import catalog

CLIPS_A_SHARD = 128
_PACKAGES = ('array-record', 'av', 'jaxlib', 'librosa', 'numpy', 'opencv-contrib-python-headless')


@dataclasses.dataclass(frozen=True)
class SourceClip:
    """A clip of the catalog.

    Attributes:
      path: of its file, absolute.
      row: what the catalog says.
      content: what `fingerprint.of` found in the file.
    """

    path: Path
    row: catalog.ClipInfo
    content: str


class Plan:
    """A column that is to be in a store.

    Attributes:
      column: what is made of the clips.
      target: its folder.
      record: what is recorded of its making, as JSON gives it back; shards of two records do not belong together.
      groups: its shards by split; the same for everyone who makes a part of them.
    """

    def __init__(self, column: ColumnBuilder, store: Path, splits: Mapping[str, range], items: Sequence[SourceClip]):
        self.column, self.target = column, store / column.name
        self.record: dict[str, Any] = json.loads(json.dumps({
            'kind': column.kind, 'rate': column.rate, 'chunk': chunk_frames(column.kind, column.rate),
            'shape': column.shape,
            'options': dataclasses.asdict(column),  # type: ignore[call-overload]
            'version': getattr(column, 'version', 1),
            'versions': {name: importlib.metadata.version(name) for name in _PACKAGES}}))
        self.groups = {split: self._jobs(split, rows, items) for split, rows in splits.items()}

    @property
    def name(self) -> str:
        """The column's."""
        return self.column.name

    @property
    def _builder(self) -> dict[str, str]:
        """What column.json says of the class of a column that is not ours; shards do not depend on its name."""
        path = import_path(self.column)
        return {'builder': path} if path else {}

    @property
    def jobs(self) -> list[Job]:
        """All shards in order."""
        return [job for group in self.groups.values() for job in group]

    def begin(self, force: bool) -> bool:
        """Leaves an unfinished column of this record, unless it is complete.

        Args:
          force: removes a complete one first, and an unfinished one of another record.

        Returns:
          Whether there is something to make.

        Raises:
          UserError: where what is there was made with other options, or is unfinished and of other versions.
        """
        finished, begun = self.target / 'column.json', self.target / 'shards' / 'plan.json'
        if finished.exists() and not force:
            there = json.loads(finished.read_text())
            self._check_options(there)
            if there | self._builder != there:  # An older vmmjax did not record it.
                atomic.write(finished, json.dumps(there | self._builder, indent=2) + '\n')
            self.remove_parts()
            return False
        earlier = {'version': 1, **json.loads(begun.read_text())} if begun.exists() else self.record
        if force and (finished.exists() or earlier != self.record):
            finished.unlink(missing_ok=True)  # First: a column without it is unfinished.
            shutil.rmtree(self.target)
        elif earlier != self.record:
            self._check_options(earlier)
            raise UserError(f'The column {self.target} was begun by {self.makers(earlier)}: install that, or begin '
                            f'again with --force.')
        begun.parent.mkdir(parents=True, exist_ok=True)
        atomic.write(begun, json.dumps(self.record))
        return True

    def is_made_alike(self, earlier: Mapping[str, Any]) -> bool:
        """Whether shards of another record of the same options have the bytes of those made now."""
        return self.record['versions'] == earlier['versions'] and self.record['version'] == earlier.get('version', 1)

    def makers(self, earlier: Mapping[str, Any]) -> str:
        """What made the shards of another record, for messages."""
        if self.record['versions'] == earlier['versions']:
            return 'another vmmjax'
        return f'other versions ({earlier["versions"]})'

    def complete(self) -> bool:
        """Writes the index, what TFDS reads and, last, `column.json`, with which the column is there.

        Returns:
          Whether it is; False where shards are missing.
        """
        if not (self.target / 'column.json').exists():  # Else another worker came first.
            reports = {job.file: report for job in self.jobs if (report := shards.read_report(job)) is not None}
            if len(reports) < len(self.jobs):
                return False
            atomic.remove_leftovers(self.target)
            self._write({split: [(job, reports[job.file]) for job in group] for split, group in self.groups.items()})
        self.remove_parts()
        return True

    def remove_parts(self) -> None:
        """Removes what is kept while shards are made."""
        if (self.target / 'shards').exists():
            shutil.rmtree(self.target / 'shards')

    def _jobs(self, split: str, rows: range, items: Sequence[SourceClip]) -> list[Job]:
        count = -(-len(rows) // CLIPS_A_SHARD)
        found = []
        for i, first in enumerate(rows[::CLIPS_A_SHARD]):
            clips = items[first:min(first + CLIPS_A_SHARD, rows.stop)]
            file = self.target / f'{self.name}-{split}.array_record-{i:05d}-of-{count:05d}'
            found.append(Job(self.column, file, first, tuple((item.path, item.row) for item in clips),
                             tuple(item.content for item in clips)))
        return found

    def _check_options(self, earlier: Mapping[str, Any]) -> None:
        there, asked = earlier['options'], self.record['options']
        where, remedy = f'The column {self.name} in {self.target.parent}', 'choose another --store, or renew the column'
        for key in asked:
            if key not in there:
                raise UserError(f'{where} was prepared by an older vmmjax, which did not record {key}; {remedy} with '
                                f'--force.')
            if there[key] != asked[key]:
                raise UserError(f'{where} was prepared with {key}={there[key]}, not {asked[key]}; ask for '
                                f'{key}={there[key]}, {remedy} with --force.')

    def _write(self, done: Mapping[str, Sequence[tuple[Job, Report]]]) -> None:
        every = [report for group in done.values() for _, report in group]
        _save(self.target / 'lengths.npy', np.array([n for report in every for n in report.lengths], np.int32))
        _save(self.target / 'sizes.npy', np.array([size for report in every for size in report.sizes], np.int32))
        _save(self.target / 'offsets.npy',
              np.cumsum([0, *(n for report in every for n in report.records)], dtype=np.int64))
        _write_tfds(self.column, self.target, done)
        atomic.write(self.target / 'column.json', json.dumps(self.record | self._builder | {
            'splits': {split: [{'file': job.file.name, 'clips': len(job.clips), 'records': sum(report.records),
                                'bytes': report.bytes, 'sha256': report.sha256} for job, report in group]
                       for split, group in done.items()},
            'failures': [[job.clips[row - job.first][1].path, reason] for group in done.values()
                         for job, report in group for row, reason in report.failures],
        }, indent=2) + '\n')


def _write_tfds(column: ColumnBuilder, target: Path, done: Mapping[str, Sequence[tuple[Job, Report]]]) -> None:
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


def _save(file: Path, array: np.ndarray) -> None:
    buffer = io.BytesIO()
    np.save(buffer, array)
    atomic.write(file, buffer.getvalue())
