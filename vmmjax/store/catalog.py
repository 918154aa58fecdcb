"""The catalog: one row a clip with what its file holds."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from vmmjax.errors import UserError

TRACK_ENDS = ('picture_end', 'sound_end')
"""Not in the catalogs of stores of format 1, nor in those of arrays."""
MEASURED = ('start', 'end', 'duration', 'fps', 'width', 'height', 'audio_rate', *TRACK_ENDS)
FIXED = ('row', 'id', 'split', 'path', *MEASURED)
"""The columns before the labels."""
JOIN = ';'
"""Joins several values of a clip in one column: no class of AudioSet holds it, several hold a comma."""


@dataclass(frozen=True)
class ClipInfo:
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
      picture_end: seconds in the file at which its pictures end; None without pictures, and in older stores, whose
        clips end with them.
      sound_end: likewise, of the sound.
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
    picture_end: float | None = None
    sound_end: float | None = None


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

    def __getitem__(self, row: int) -> ClipInfo:
        """The row's measured part, with types."""
        return clip_info({name: values[row] for name, values in self.columns.items()})


def clip_info(text: Mapping[str, str]) -> ClipInfo:
    """The measured part of a row, with types, from its texts by column."""
    fps, picture_end, sound_end = (
        float(text[name]) if text.get(name) else None for name in ('fps', 'picture_end', 'sound_end'))
    width, height, audio_rate = (int(text[name]) if text[name] else None for name in ('width', 'height', 'audio_rate'))
    return ClipInfo(text['path'], text['split'], text['id'], float(text['start']), float(text['end']),
                    float(text['duration']), fps, width, height, audio_rate, picture_end, sound_end)


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
    return of_rows(header, rows)


def of_rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Catalog:
    """A catalog of texts: the names of its columns, and its rows, those of a split behind each other."""
    columns = {name: [row[index] for row in rows] for index, name in enumerate(header)}
    splits = {}
    for name in dict.fromkeys(columns['split']):
        first = columns['split'].index(name)
        splits[name] = range(first, first + columns['split'].count(name))
    return Catalog(splits, columns)
