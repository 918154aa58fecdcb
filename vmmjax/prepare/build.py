"""The write side of a store: catalog, then one column after another, shard by shard."""

import collections
import csv
import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Literal

from vmmjax import atomic
from vmmjax.errors import UserError
from vmmjax.prepare import catalog_builder, fingerprint, labels, verify
from vmmjax.prepare.column_writer import CLIPS_A_SHARD, Plan, SourceClip
from vmmjax.prepare.columns import ColumnBuilder
from vmmjax.prepare.records import chunk_frames
from vmmjax.prepare.runners import Local, Runner
from vmmjax.prepare.shards import read_report
from vmmjax.prepare.sources import Clip
from vmmjax.store import catalog, locks
from vmmjax.store.store import FORMAT, check_format

State = Literal['made', 'found', 'waiting']
"""Of a column after a call: completed by it, complete before, or with shards left that other workers make."""


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of the shards that one of several equal commands makes, on as many machines.

    Attributes:
      worker: 0 to workers - 1.
      workers: how many there are.
    """

    worker: int = 0
    workers: int = 1


WHOLE = Share()


@dataclasses.dataclass
class Maker:
    """Makes the columns of one store.

    Attributes:
      folder: the store.
      splits: rows of each split.
      items: the clips in catalog order.
      runner: who makes shards.
      share: which of them.
      threads: threads that compare checksums.
      progress: whether progress bars are shown.
      mended: shards of complete columns that were damaged and are made again.
    """

    folder: Path
    splits: Mapping[str, range]
    items: Sequence[SourceClip]
    runner: Runner
    share: Share
    threads: int
    progress: bool
    mended: int = 0

    def make(self, columns: Sequence[ColumnBuilder], *, force: bool, check: bool) -> dict[str, State]:
        """Makes what is missing of each column.

        Args:
          columns: the columns.
          force: makes complete ones again; one that is not complete goes on if it has the same plan.
          check: compares the shards of complete ones with their checksums, not with their sizes alone.

        Returns:
          How each of them is now, by name.

        Raises:
          UserError: where other options or versions made what is there, or a shard cannot be made; columns of which
            all shards are there are completed all the same.
        """
        plans = {column.name: Plan(column, self.folder, self.splits, self.items) for column in columns}
        with self._turn():
            missing = [plan for plan in plans.values() if plan.begin(force)]
        for plan in plans.values():
            if plan not in missing:
                self._mend(plan, check)
        mine = [job for plan in missing for job in plan.jobs[self.share.worker::self.share.workers]]
        try:
            # All columns at once: no process waits for the last shard of each, no cluster is begun for each.
            self.runner(mine, ', '.join(plan.name for plan in missing), self.progress)
        except UserError:
            self._complete(missing)
            raise
        return self._complete(missing) | {name: 'found' for name, plan in plans.items() if plan not in missing}

    def _complete(self, plans: Sequence[Plan]) -> dict[str, State]:
        with self._turn():
            return {plan.name: 'made' if plan.complete() else 'waiting' for plan in plans}

    def _turn(self) -> AbstractContextManager[None]:
        return locks.turn(self.folder / 'store.json')

    def _mend(self, plan: Plan, check: bool) -> None:
        """Makes the damaged shards of a complete column again; their bytes must be those that were recorded."""
        target = plan.target
        damaged = verify.damaged(target, self.threads if check else 0, self.progress)
        if not damaged:
            return
        again = [job for job in plan.jobs if job.file in damaged]
        names = ', '.join(job.file.name for job in again)
        if self.share.workers > 1:
            raise UserError(f'The store {self.folder} is damaged ({names}): run the command without --worker first, '
                            f'which makes that again.')
        recorded = json.loads((target / 'column.json').read_text())
        if not plan.is_made_alike(recorded):
            raise UserError(f'The column {target} is damaged ({names}) and was made by {plan.makers(recorded)}: '
                            f'install that, or renew the column with --force.')
        for job in again:
            job.file.unlink(missing_ok=True)
        listed = {shard['file']: shard['sha256'] for group in recorded['splits'].values() for shard in group}
        (target / 'shards').mkdir(exist_ok=True)
        self.runner(again, plan.name, self.progress)
        written = {job.file: report.sha256 for job in again if (report := read_report(job)) is not None}
        if written != {job.file: listed[job.file.name] for job in again}:
            raise UserError(f'The damaged shards of the column {target} ({names}) were made again, but with other '
                            f'contents than before, perhaps by another machine: renew the column with --force.')
        plan.remove_parts()
        self.mended += len(again)


@dataclasses.dataclass(frozen=True)
class Summary:
    """What a call found and did.

    Attributes:
      clips: clips in the catalog.
      made: columns that were written or completed.
      found: columns that were complete before.
      rejected: lines of rejected.csv.
      mended: damaged shards of complete columns that were made again.
      waiting: columns of which other workers still have shards to make.
      damaged: lines of damaged.csv.
      warnings: sentences on what in the labels and splits is probably a mistake.
    """

    clips: int
    made: tuple[str, ...]
    found: tuple[str, ...]
    rejected: int
    mended: int = 0
    waiting: tuple[str, ...] = ()
    damaged: int = 0
    warnings: tuple[str, ...] = ()


def prepare(clips: Sequence[Clip], folder: Path, columns: Sequence[ColumnBuilder], *, origin: str, processes: int,
            progress: bool = True, runner: Runner | None = None, share: Share = WHOLE, force: bool = False,
            check: bool = False) -> Summary:
    """Makes a store, or adds to it what is missing; a shard that is missing or cut off is made again.

    Args:
      clips: what `sources.read` found.
      folder: the store.
      columns: what to make of every clip.
      origin: name of the source, and what else makes it this one (a seed); recorded in the store.
      processes: processes of this machine that probe files, and make shards where there is no runner.
      progress: whether progress bars are shown.
      runner: who makes the shards; those processes unless given.
      share: which of the shards; the worker that finds all of them there completes the column.
      force: makes columns again that are complete; one that such a call had begun goes on.
      check: compares every shard of the columns with its checksum first, so that damaged ones are made again.

    Raises:
      UserError: for a store of another source, a column of other options, a folder that cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)

        def begin() -> None:
            atomic.remove_leftovers(folder)
            _make_catalog(clips, folder, origin, processes, progress, local)

        with Local(processes) as local, (locks.alone(folder, begin) if share.workers == 1
                                         else locks.among_workers(folder, folder / 'store.json', begin)):
            _check_source(clips, folder, origin)
            found, items = _items(clips, folder, processes, progress)
            maker = Maker(folder, found.splits, items, runner or local, share, processes, progress)
            states = maker.make(columns, force=force, check=check)
            with locks.turn(folder / 'store.json'):
                rejected = _list_rejected(folder)
    except OSError as error:
        raise UserError(f'The store {folder} could not be written: {error.strerror or error}'
                        f'{f" ({error.filename})" if error.filename else ""}; make room or choose another --store.'
                        ) from error
    warnings = labels.warnings(found, _paths(clips, found), {item.row.path: item.content for item in items})
    made, there, waiting = (tuple(column.name for column in columns if states[column.name] == state)
                            for state in ('made', 'found', 'waiting'))
    return Summary(len(items), made, there, rejected, maker.mended, waiting, catalog_builder.count_damaged(folder),
                   tuple(warnings))


def stages(clips: Sequence[Clip], folder: Path, columns: Sequence[ColumnBuilder], *, origin: str) -> str:
    """What `prepare` would do with the same arguments, a stage a line; no file is opened, nothing is written."""
    splits = collections.Counter(clip.split for clip in clips)
    counts = ', '.join(f'{name} {count}' for name, count in splits.items())
    shards = sum(-(-count // CLIPS_A_SHARD) for count in splits.values())
    there = (folder / 'store.json').exists()
    lines = [f'source   {origin}: {len(clips)} clips, {counts}',
             f'catalog  {len({clip.path for clip in clips})} files {"were" if there else "are"} probed; '
             f'what cannot be read goes to rejected.csv']
    for column in columns:
        options = ', '.join(f'{name}={value}' for name, value in
                            dataclasses.asdict(column).items())  # type: ignore[call-overload]
        state = 'there already' if (folder / column.name / 'column.json').exists() else f'{shards} shards at most'
        lines.append(f'column   {column.name}: {column.kind}, {column.rate:g} frames/s, '
                     f'{chunk_frames(column.kind, column.rate)} a record ({options}) -> {state}')
    return '\n'.join([*lines, f'store    {folder}'])


def _make_catalog(clips: Sequence[Clip], folder: Path, origin: str, processes: int, progress: bool,
                  local: Local) -> None:
    """Writes the catalog, what its files held and, last, store.json; does nothing if that is there."""
    if (folder / 'store.json').exists():
        return
    given = labels.cleaned(clips)
    for name in dict.fromkeys(clip.split for clip in given):
        if not (name.isidentifier() and name.isascii()):
            raise UserError(f'The split {name!r} cannot name a file of a TFDS data set; '
                            f'use letters, digits and underscores in the manifest.')
    catalog_builder.build(given, folder, processes, progress, local.pool)
    found = catalog.read(folder)
    fingerprint.write(folder, _paths(clips, found), processes, progress)
    atomic.write(folder / 'store.json', json.dumps({
        'format': FORMAT, 'source': _source(clips, origin),
        'splits': {name: [rows.start, rows.stop] for name, rows in found.splits.items()}}, indent=2) + '\n')


def _check_source(clips: Sequence[Clip], folder: Path, origin: str) -> None:
    """Compares the source with the one that the store was made from."""
    meta = json.loads((folder / 'store.json').read_text())
    check_format(folder, meta['format'])
    if meta['source'] != _source(clips, origin):
        raise UserError(f'The store {folder} was made from {meta["source"]["origin"]!r}, which is not what '
                        f'--source gives now ({origin!r}, or its rows changed); choose another --store, or '
                        f'delete that one.')


def _source(clips: Sequence[Clip], origin: str) -> dict[str, str]:
    texts = [[clip.name, clip.split, clip.id, clip.start, clip.end, dict(clip.labels)]
             for clip in clips if not clip.fault]
    return {'origin': origin, 'sha256': hashlib.sha256(json.dumps(texts).encode()).hexdigest()}


def _paths(clips: Sequence[Clip], found: catalog.Catalog) -> dict[str, Path]:
    """Where each file of the catalog is, in its order."""
    paths = {clip.name: clip.path for clip in clips}
    return {name: paths[name] for name in dict.fromkeys(found.columns['path'])}


def _items(clips: Sequence[Clip], folder: Path, processes: int, progress: bool
           ) -> tuple[catalog.Catalog, list[SourceClip]]:
    """The catalog with what each file held; its size is compared with what is there now."""
    found = catalog.read(folder)
    paths = _paths(clips, found)
    with locks.turn(folder / 'store.json'):
        contents = fingerprint.read(folder)
        if contents is None:  # A store of before there was such a file.
            contents = fingerprint.write(folder, paths, processes, progress)
    fingerprint.check_sizes(paths, contents)
    rows = [found[i] for i in range(len(found))]
    return found, [SourceClip(paths[row.path], row, contents[row.path]) for row in rows]


def _list_rejected(folder: Path) -> int:
    """Lists the clips that columns could not decode behind those without a row; returns the lines of rejected.csv."""
    file = folder / 'rejected.csv'
    columns = {entry.name for entry in folder.iterdir() if entry.is_dir()}
    failures = [tuple(failure) for column in sorted(folder.glob('*/column.json'))
                for failure in json.loads(column.read_text())['failures']]
    with open(file, newline='', encoding='utf-8') as lines:
        header, *earlier = [tuple(line) for line in csv.reader(lines)]
    # A column's reasons begin with its name; one that was renewed may have others now.
    listed = [line for line in earlier if line[1].partition(': ')[0] not in columns] + failures
    if listed != earlier:
        atomic.write_csv(file, [header, *listed])
    return len(listed)
