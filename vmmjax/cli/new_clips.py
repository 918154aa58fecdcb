"""Clips that are not of a run's own store: what they are known by, and where their results go."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError
from vmmjax.evaluation.result import write_text
from vmmjax.experiment import Experiment
from vmmjax.pipeline import inputs
from vmmjax.pipeline.folds import folded
from vmmjax.store.store import RowIndices, Store
from vmmjax.training import workdir

_OF = 'clips_of.txt'


def folder_of(workdir: Path, name: str, source: str) -> Path:
    """Where the results of new clips are: named by the user, or after the source."""
    stem = Path(source.rpartition(':')[2].rstrip('/')).name.removesuffix('.csv')
    return workdir / 'new_clips' / (name or re.sub(r'[^\w.=+-]+', '_', stem).strip('_.') or 'clips')


def check_free(out: Path, of: str) -> None:
    """Refuses a folder with results of other clips, such as of another folder of the same name.

    Args:
      out: the folder.
      of: what identifies the clips, which `mark` has written there.
    """
    file = out / _OF
    if file.is_file() and file.read_text(encoding='utf-8') != of:
        raise UserError(f'{out} holds results of other clips; give these a name of their own with --name.')


def mark(out: Path, of: str) -> None:
    """Writes down which clips the results in a folder are of, see `check_free`."""
    write_text(out / _OF, of)


def identity(run: Experiment) -> str:
    """Of the store of an experiment: its catalog, and how the columns that its streams read were made."""
    now = inputs.describe(run.store, {'streams': {
        name: stream for name, stream in run.config.data.streams.items() if stream.modality in run.store.columns}})
    return json.dumps([run.store.fingerprint, now['columns']], sort_keys=True)


def is_own(of: str, fingerprint: str, recorded: Mapping[str, Any] | None) -> bool:
    """Whether a store is the one that a run was trained on, wherever it lies now.

    Args:
      of: its `identity`.
      fingerprint: of the store that the run was trained on.
      recorded: what the run has written down of that, see `Experiment.run_inputs`.
    """
    found, columns = json.loads(of)
    return bool(found == fingerprint and not (
        recorded and workdir.column_differences(recorded, {'data': {'columns': columns}})))


def check_apart(store: Store, rows: RowIndices, what: str, trained_on: str, fold: int | None) -> None:
    """Refuses clips that were trained on, such as those of another of the official splits of one data set."""
    try:
        before = folded(Store(trained_on), fold)
    except UserError:
        return  # It is no longer there, and what was trained on is not known.
    trained = set(_identities(before, before.rows('train')))
    shared = [clip for clip in _identities(store, rows) if clip in trained]
    if shared:
        raise UserError(f'{len(shared)} clips of {what}, such as {shared[0][0]!r}, are among those that the run was '
                        f'trained on in {trained_on}; measure it on that store.')


def _identities(store: Store, rows: RowIndices) -> list[tuple[str, ...]]:
    """By what clips of different stores are known to be the same: id, start and end."""
    return list(zip(*(store.values(name)[rows].tolist() for name in ('id', 'start', 'end')), strict=True))
