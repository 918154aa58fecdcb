"""A manifest: the CSV file in which users name their clips."""

import csv
import math
import os
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import Clip
from vmmjax.store.catalog import FIXED

_OWN = ('path', 'split', 'id', 'start', 'end')


def read(path: Path, *, split: str = '') -> list[Clip]:
    """Reads a CSV file with the columns `path`, relative to it, and `split`.

    Optional are `id`, and `start` and `end` in seconds; every further column is a label, a number or a text.

    Args:
      path: of the file.
      split: of the clips of a file without that column, which is then not needed.

    Raises:
      UserError: for a manifest without a needed column or without clips, with a missing file, or with times or
        names that make no sense.
    """
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            _check_columns(path, columns, ('path',) if split else ('path', 'split'))
            reader.fieldnames = columns
            clips = [_clip(path, columns, row if 'split' in columns else {**row, 'split': split}, reader.line_num)
                     for row in reader]
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f'The manifest {path} is no CSV file in UTF-8: {error}.') from error
    if not clips:
        raise UserError(f'The manifest {path} names no clip: add a row for each, below its header.')
    if 'id' in columns:
        seen: dict[str, int] = {}
        for number, clip in enumerate(clips, 1):
            if clip.id in seen:
                raise UserError(f'The manifest {path} gives the id {clip.id!r} to its clips {seen[clip.id]} and '
                                f'{number}: ids must differ.')
            seen[clip.id] = number
    return clips


def _check_columns(path: Path, columns: list[str], needed: tuple[str, ...]) -> None:
    for name in needed:
        if name not in columns:
            raise UserError(f'The manifest {path} has no column {name!r} among {", ".join(columns) or "none"}: '
                            f'add one; {" and ".join(needed)} {"is" if len(needed) == 1 else "are"} needed.')
    for name in columns:
        if not name or columns.count(name) > 1:
            raise UserError(f'The manifest {path} names the column {name!r} '
                            f'{"twice" if name else "with nothing"}: give each its own name.')
        if name in FIXED and name not in _OWN:  # It would be taken for the catalog's.
            raise UserError(f'The manifest {path} has a column {name!r}, which the catalog measures itself: '
                            f'rename or remove it.')


def _clip(manifest: Path, columns: list[str], row: dict[str, str], line: int) -> Clip:
    where = f'The manifest {manifest}, line {line},'
    if None in row or None in row.values():
        raise UserError(f'{where} has not one cell for each of the {len(columns)} columns: quote cells that hold '
                        f'commas.')
    name, split = row['path'].strip(), row['split'].strip()
    if not name or not split:
        raise UserError(f'{where} leaves {"path" if not name else "split"} empty: fill it in.')
    file = (manifest.parent / name).absolute()
    if not os.path.lexists(file) or file.is_dir():  # Of a broken link or a pipe the catalog says so.
        raise UserError(f'{where} names {name}, but there is no file {file}: correct the path or remove the line.')
    start, end = (_seconds(row.get(key, ''), key, where) for key in ('start', 'end'))
    if end is not None and end <= (start or 0.0):
        raise UserError(f'{where} ends at {end} s, not after its start at {start or 0.0} s.')
    labels = {key: row[key] for key in columns if key not in _OWN}
    return Clip(file, name, split, row['id'].strip() if 'id' in row else name, start, end, labels)


def _seconds(text: str, column: str, where: str) -> float | None:
    if not text.strip():
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise UserError(f'{where} gives {text!r} as {column}: seconds, 0 or more, are needed.')
    return value
