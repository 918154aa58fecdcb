"""Something-Something, versions 1 and 2, from their annotation files."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import Clip, split_in
from vmmjax.prepare.sources.media_index import Files, lines_of

# Pictures a second of version 1, which is published as JPEG files.
V1_FPS = 12


def read(files: Sequence[Path], media: Files) -> list[Clip]:
    """Reads `something-something-v1-train.csv`, `something-something-v2-train.json` and their like.

    Version 1 (TwentyBN, 2017): a line `100218;Something falling like a feather or paper` a clip, an id alone in
    the test file, and the clip a folder `100218` of pictures 00001.jpg, 00002.jpg ... at 12 a second. Version 2
    (2018; the files of today's distributor are named train.json, validation.json and test.json): a list of
    `{"id": "78687", "label": "holding potato next to vicks vaporub bottle", "template": "Holding [something] next
    to [something]", "placeholders": ["potato", "vicks vaporub bottle"]}`, an id alone in the test file, and the
    clip 78687.webm. The split is in the file's name.

    Returns:
      The clips with the label (the template without its brackets, as in the published list of labels) and the
      `text` that its author wrote (nothing for version 1); both are empty for a test file.

    Raises:
      UserError: for a file of another layout.
    """
    clips = []
    for file in files:
        split = split_in(file.name, 'the annotation file')
        for number, label, text in _json(file) if file.suffix == '.json' else _csv(file):
            clips.append(media.clip(media.find(number), number, split, {'label': label, 'text': text}))
    return clips


def _csv(file: Path) -> Iterator[tuple[str, str, str]]:
    for row in csv.reader(lines_of(file), delimiter=';'):
        if len(row) > 2 or not row[0].isdigit():
            raise UserError(f'{file} is no annotation of Something-Something: the line {";".join(row)!r} is not '
                            f'an id, a semicolon and a label.')
        yield row[0], row[1].strip() if len(row) == 2 else '', ''


def _json(file: Path) -> Iterator[tuple[str, str, str]]:
    try:
        for entry in json.loads(file.read_bytes()):
            if 'template' in entry:
                yield str(entry['id']), entry['template'].replace('[', '').replace(']', ''), entry['label']
            else:
                yield str(entry['id']), '', ''
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f'{file} is no annotation of Something-Something: {error}.') from error
