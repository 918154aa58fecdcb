"""What a user hands in, as a list of clips: a manifest, a folder per class, or a data set made on the spot."""

import csv
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vmmjax.data import synthetic
from vmmjax.errors import UserError, did_you_mean

# `synthetic:<name>` -> what writes it.
SYNTHETIC = {'motion_sound': synthetic.generate}
# What the catalog measures; a manifest's own column of that name would be taken for it.
MEASURED = ('row', 'duration', 'fps', 'width', 'height', 'audio_rate')
# Folders of these names above the classes' folders are splits.
_SPLITS = {'train': 'train', 'validation': 'validation', 'val': 'validation', 'valid': 'validation',
           'test': 'test'}


@dataclass(frozen=True)
class Clip:
    """One clip as the source names it.

    Attributes:
      path: of its file, absolute.
      name: its file as given, relative to the manifest or the folder; the catalog's `path`.
      split: train, validation, test or another.
      id: the user's own; the name where none is given.
      start: seconds in the file; None for its beginning.
      end: seconds in the file; None for its end.
      labels: every further column of the manifest, in its order.
    """

    path: Path
    name: str
    split: str
    id: str
    start: float | None
    end: float | None
    labels: Mapping[str, str]


def read(source: str, *, generated: Path | None = None, seed: int = 0,
         sizes: Mapping[str, int] = synthetic.SIZES, workers: int = 1, progress: bool = True) -> list[Clip]:
    """Reads a source; nothing is written but a synthetic data set.

    Args:
      source: a manifest (CSV with the columns `path`, relative to it, and `split`; optional `id`, and `start`
        and `end` in seconds; every further column is a label, a number or a text), a folder with one folder a
        class (all in split train) or with train, validation and test folders above them, or
        `synthetic:motion_sound`.
      generated: the folder a synthetic data set is written into.
      seed: of a synthetic data set.
      sizes: its clips a split.
      workers: processes that write a synthetic data set.
      progress: whether they show a progress bar.

    Returns:
      The clips in the source's order, at least one.

    Raises:
      UserError: for a source that is not there, a manifest without a needed column, with a missing file, with
        times or names that make no sense, or for a source without clips.
    """
    if source.startswith('synthetic:'):
        name = source.removeprefix('synthetic:')
        if name not in SYNTHETIC:
            raise UserError(f'There is no synthetic data set {name!r}: {did_you_mean(name, SYNTHETIC)}.')
        if generated is None:
            raise UserError(f'{source} needs a folder to be written into.')
        return _manifest(SYNTHETIC[name](generated, seed=seed, sizes=sizes, workers=workers, progress=progress))
    path = Path(source)
    if path.is_dir():
        return _folders(path)
    if path.is_file():
        return _manifest(path)
    raise UserError(f'The source {source!r} is neither a manifest (CSV) nor a folder that is there; '
                    f'{did_you_mean(source, [f"synthetic:{name}" for name in SYNTHETIC])}.')


def _manifest(path: Path) -> list[Clip]:
    try:
        with path.open(newline='', encoding='utf-8-sig') as file:
            reader = csv.DictReader(file, strict=True)
            columns = [name.strip() for name in reader.fieldnames or ()]
            _check_columns(path, columns)
            reader.fieldnames = columns
            clips = [_clip(path, columns, row, reader.line_num) for row in reader]
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


def _check_columns(path: Path, columns: list[str]) -> None:
    for needed in ('path', 'split'):
        if needed not in columns:
            raise UserError(f'The manifest {path} has no column {needed!r} among {", ".join(columns) or "none"}: '
                            f'add one; path and split are needed.')
    for name in columns:
        if not name or columns.count(name) > 1:
            raise UserError(f'The manifest {path} names the column {name!r} '
                            f'{"twice" if name else "with nothing"}: give each its own name.')
        if name in MEASURED:
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
    if not file.is_file():
        raise UserError(f'{where} names {name}, but there is no file {file}: correct the path or remove the line.')
    start, end = (_seconds(row.get(key, ''), key, where) for key in ('start', 'end'))
    if end is not None and end <= (start or 0.0):
        raise UserError(f'{where} ends at {end} s, not after its start at {start or 0.0} s.')
    labels = {key: row[key] for key in columns if key not in ('path', 'split', 'id', 'start', 'end')}
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


def _folders(root: Path) -> list[Clip]:
    """ROOT/<class>/<file> or ROOT/<split>/<class>/<file>; hidden names are passed over."""
    tops = _visible(root)
    split_of = {top: _SPLITS[top.name] for top in tops if top.is_dir() and top.name in _SPLITS}
    if split_of and any(top.is_dir() and top not in split_of for top in tops):
        raise UserError(f'The folder {root} holds both splits ({", ".join(top.name for top in split_of)}) and other '
                        f'folders: keep either one folder a split or one a class.')
    clips = []
    for parent, split in (split_of or {root: 'train'}).items():
        for folder in filter(Path.is_dir, _visible(parent)):
            for file in filter(Path.is_file, _visible(folder)):
                name = file.relative_to(root).as_posix()
                clips.append(Clip(file.absolute(), name, split, name, None, None, {'label': folder.name}))
    if not clips:
        raise UserError(f'The folder {root} holds no clips: put them into one folder a class, or name a manifest.')
    return clips


def _visible(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith('.'))
