"""One clip as a source names it, and the names that splits have in published data sets."""

import math
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.prepare.new_clips import SPLIT

# What the published names of splits are here.
SPLITS = {'train': 'train', 'training': 'train', 'validation': 'validation', 'validate': 'validation',
          'val': 'validation', 'valid': 'validation', 'dev': 'validation', 'test': 'test', 'testing': 'test',
          'eval': 'test', 'evaluation': 'test'}


@dataclass(frozen=True)
class Clip:
    """One clip as the source names it.

    Attributes:
      path: of its file, absolute. The file need not be there (videos are removed from where they were
        published): the catalog then lists the clip in `rejected.csv`.
      name: its file as given, relative to the manifest or the folder; the catalog's `path`.
      split: train, validation, test or another.
      id: the user's own; the name where none is given.
      start: seconds in the file; None for its beginning.
      end: seconds in the file; None for its end.
      labels: every further column, the same ones for every clip of a source and in the same order.
      fault: why it is no clip after all, so that the catalog lists it in `rejected.csv` without a look at it; or ''.
    """

    path: Path
    name: str
    split: str
    id: str
    start: float | None
    end: float | None
    labels: Mapping[str, str]
    fault: str = ''


def printable(name: str) -> str:
    r"""A file's name as it is listed: bytes that are not UTF-8, and control characters, as `\x..` and the like."""
    text = name.encode('utf-8', 'surrogateescape').decode('utf-8', 'backslashreplace')
    return ''.join(repr(letter)[1:-1] if unicodedata.category(letter) == 'Cc' else letter for letter in text)


def of_file(path: str | Path, *, id: str = '', start: float | None = None, end: float | None = None,
            texts: Mapping[str, str] | None = None) -> Clip:
    """A clip of no data set, such as one to predict.

    Args:
      path: of its file; relative to the working directory.
      id: the path unless given.
      start: seconds in the file; None for its beginning.
      end: seconds in the file; None for its end.
      texts: by catalog column, for what reads texts.

    Raises:
      UserError: for times that make no sense.
    """
    for name, seconds in (('starts', start), ('ends', end)):
        if seconds is not None and not (math.isfinite(seconds) and seconds >= 0):
            raise UserError(f'{path}: the clip {name} at {seconds} s; give seconds in the file, 0 or more.')
    if end is not None and end <= (start or 0.0):
        raise UserError(f'{path}: the clip ends at {end} s, not after its start at {start or 0.0} s.')
    return Clip(Path(path).absolute(), str(path), SPLIT, id or str(path), start, end, dict(texts or {}))


def split_in(name: str, what: str) -> str:
    """The split that a word of a name stands for, as in `something-something-v2-validation.json`.

    Args:
      name: of a file.
      what: says in the error what the file is.

    Raises:
      UserError: where no word, or words for different splits, are in it.
    """
    found = {SPLITS[word] for word in re.split('[^a-z]+', name.lower()) if word in SPLITS}
    if len(found) != 1:
        raise UserError(f'The name of {what} {name!r} tells {"no split" if not found else "several splits"}: put one '
                        f'of the words train, validation and test into it.')
    return found.pop()
