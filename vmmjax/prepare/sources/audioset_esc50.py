"""AudioSet and ESC-50 from their annotation files."""

import csv
from collections.abc import Sequence
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import Clip, split_in
from vmmjax.prepare.sources.media_index import Files, lines_of
from vmmjax.store.catalog import JOIN


def read_audioset(files: Sequence[Path], media: Files) -> list[Clip]:
    """Reads `balanced_train_segments.csv`, `unbalanced_train_segments.csv` and `eval_segments.csv`.

    Of the layout at research.google.com/audioset/download.html: comments after `#`, then lines
    `--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"`. The names of the labels are taken from
    `class_labels_indices.csv` (`index,mid,display_name`), which must stand beside the first file. The evaluation
    segments are the split test. Media are looked for, in folders of any structure, under the names that the common
    downloaders give to a segment (`<id>_30.000`, `<id>_30`, `<id>_000030`, `<id>_30_40`, `<id>_30.000_40.000`,
    `<id>_30000_40000`, `<id>_000030_000040`, each also with a `Y` before it, and `Y<id>`), already cut; else as
    `<id>`, the whole video, of which the segment is taken. Videos that are no longer there are rejected by the
    catalog.

    Returns:
      The clips with all their labels' names in the column `label`, joined by semicolons (no name holds one) in
      the file's order.

    Raises:
      UserError: for a file of another layout, or a label that the list of labels does not have.
    """
    names = _names(files[0].with_name('class_labels_indices.csv'))
    clips = []
    for file in files:
        split = split_in(file.name, 'the annotation file')
        for row in csv.reader((line for line in lines_of(file) if not line.startswith('#')), skipinitialspace=True):
            try:
                video, start, end = row[0], float(row[1]), float(row[2])
                label = JOIN.join(names[code] for code in row[3].split(','))
            except (IndexError, ValueError) as error:
                raise UserError(f'{file} is no list of AudioSet: the line {", ".join(row)!r} is not an id, two times '
                                f'and labels.') from error
            except KeyError as error:
                raise UserError(f'{file} has the label {error}, which class_labels_indices.csv beside it does not '
                                f'have.') from error
            clips.append(_segment(media, video, start, end, split, {'label': label, 'video': video}))
    return clips


def _segment(media: Files, video: str, start: float, end: float, split: str, labels: dict[str, str]) -> Clip:
    whole = f'{video}_{start:.3f}_{end:.3f}'
    for first, last in ((f'{start:.3f}', f'{end:.3f}'), (f'{start:g}', f'{end:g}'), (f'{start:06.0f}', f'{end:06.0f}'),
                        (f'{start * 1000:.0f}', f'{end * 1000:.0f}')):
        for stem in (f'{video}_{first}', f'{video}_{first}_{last}', f'Y{video}_{first}', f'Y{video}_{first}_{last}'):
            if (path := media.find(stem)) is not None:
                return media.clip(path, stem, split, labels, id=whole)
    if (path := media.find(f'Y{video}')) is not None:
        return media.clip(path, video, split, labels, id=whole)
    if (path := media.find(video)) is not None:
        return media.clip(path, video, split, labels, id=whole, start=start, end=end)
    return media.clip(None, whole, split, labels)


def _names(file: Path) -> dict[str, str]:
    """The display name of every label's code."""
    if not file.is_file():
        raise UserError(f'There is no {file}: put AudioSet\'s list of labels beside the segments.')
    rows = list(csv.DictReader(lines_of(file)))
    if not rows or 'mid' not in rows[0] or 'display_name' not in rows[0]:
        raise UserError(f'{file} is no list of AudioSet\'s labels: it has no columns mid and display_name.')
    return {row['mid']: row['display_name'] for row in rows}


def read_esc50(files: Sequence[Path], media: Files) -> list[Clip]:
    """Reads `meta/esc50.csv` (github.com/karolpiczak/ESC-50).

    Its columns are `filename,fold,target,category,esc10,src_file,take`; the files lie in `audio` beside `meta`.
    The set has five folds and no other split: the first four are the split train here and the fifth test, and
    the column `fold` is kept for cross-validation. Clips of one source recording (`group`) are in one fold.

    Raises:
      UserError: for a file of another layout.
    """
    clips = []
    for file in files:
        for row in csv.DictReader(lines_of(file)):
            try:
                stem, fold = Path(row['filename']).stem, row['fold']
                labels = {'label': row['category'], 'fold': fold, 'esc10': row['esc10'], 'group': row['src_file']}
            except KeyError as error:
                raise UserError(f'{file} is no table of ESC-50: it has no column {error}.') from error
            clips.append(media.clip(media.find(stem), stem, 'test' if fold == '5' else 'train', labels))
    return clips
