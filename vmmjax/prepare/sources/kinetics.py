"""Kinetics-400, -600, -700 and -700-2020 from their annotation files."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vmmjax.errors import UserError, did_you_mean
from vmmjax.prepare.sources.clip import SPLITS, Clip
from vmmjax.prepare.sources.media_index import Files

_NEEDED = ('youtube_id', 'time_start', 'time_end', 'split')


def read(files: Sequence[Path], media: Files) -> list[Clip]:
    """Reads CSV files with the columns `label,youtube_id,time_start,time_end,split`.

    That is the layout of the official download (splits train, validate and test) and of its mirror at CVDF
    (github.com/cvdfoundation/kinetics-dataset; splits train, val and test, for Kinetics-400 with a further column
    `is_cc`); the test files of the challenges have no column `label`, which is left empty then. Media are looked
    for as both the mirror's archives and ActivityNet's crawler name them, `<youtube_id>_<start>_<end>` with six
    digits each, already cut, in folders of any structure; else as `<youtube_id>`, the whole video, of which the
    seconds from `time_start` to `time_end` are taken. Videos that are no longer there are rejected by the catalog.

    Raises:
      UserError: for a file of another layout.
    """
    clips = []
    for file in files:
        with file.open(newline='', encoding='utf-8-sig') as lines:
            rows = csv.DictReader(lines)
            columns = rows.fieldnames or ()
            missing = [name for name in _NEEDED if name not in columns]
            if missing:
                raise UserError(f'{file} is no annotation of Kinetics: it has no column {missing[0]!r} among '
                                f'{", ".join(columns) or "none"}.')
            clips += [_clip(row, f'{file}, line {rows.line_num},', media) for row in rows]
    return clips


def _clip(row: dict[str, str], where: str, media: Files) -> Clip:
    try:
        start, end = (float(row[name]) for name in ('time_start', 'time_end'))
        split = SPLITS[row['split']]
    except KeyError as error:
        raise UserError(f'{where} has the split {error}: {did_you_mean(str(row["split"]), SPLITS)}.') from error
    except (TypeError, ValueError) as error:
        raise UserError(f'{where} has no seconds in time_start and time_end.') from error
    label = row.get('label', '')  # A test file has none.
    stem = f'{row["youtube_id"]}_{start:06.0f}_{end:06.0f}'
    labels = {'label': label, 'video': row['youtube_id']}
    path = media.find(stem, label)
    if path is None and (whole := media.find(row['youtube_id'], label)) is not None:
        return media.clip(whole, stem, split, labels, start=start, end=end)
    return media.clip(path, stem, split, labels)
