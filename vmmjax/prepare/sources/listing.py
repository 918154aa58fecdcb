"""Files named one by one, by folders, patterns and lists, such as those to predict."""

import glob
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.prepare.sources import manifest
from vmmjax.prepare.sources.clip import Clip, of_file
from vmmjax.prepare.sources.media_index import SOUNDS, VIDEOS

STDIN = '-'


def read(arguments: Sequence[str], lines: Iterable[str] = ()) -> list[Clip]:
    """The clips that arguments of a command name, in their order.

    Args:
      arguments: each a file, which need not be there; a folder, for the media files below it; a pattern with `*`, `?`
        or `[` (`**` for any number of folders); a manifest `*.csv`, whose clips may have `id`, `start`, `end` and texts
        (see `manifest.read`); or `-` for `lines`.
      lines: files, one a line; empty lines are passed over.

    Raises:
      UserError: for a folder, a pattern or lines that name no file, and see `manifest.read`.
    """
    clips: list[Clip] = []
    for argument in arguments:
        path = Path(argument)
        if argument == STDIN:
            found = [of_file(name) for name in map(str.strip, lines) if name]
            if not found:
                raise UserError('Nothing was read from the standard input; write a file a line into it.')
        elif os.path.isdir(path):  # `Path.is_dir` raises for a name that is too long.
            found = [of_file(file) for file in below(path)]
            if not found:
                raise UserError(f'The folder {path} holds no video or sound file.')
        elif path.suffix.lower() == '.csv' and os.path.isfile(path):
            found = manifest.read(path, split='predict')
        elif glob.has_magic(argument) and not os.path.exists(path):
            found = [of_file(file) for file in sorted(glob.glob(argument, recursive=True))]
            if not found:
                raise UserError(f'No file matches {argument!r}.')
        else:
            found = [of_file(argument)]
        clips += found
    return clips


def below(folder: Path) -> list[Path]:
    """The media files in a folder and the folders in it, sorted; hidden ones and links to folders are passed over."""
    found = []
    for parent, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith('.'))
        found += [Path(parent, name) for name in sorted(names)
                  if not name.startswith('.') and os.path.splitext(name)[1].lower() in VIDEOS + SOUNDS]
    return found
