"""Finds the media files that annotations name: published lists give an id, users keep files in folders of their own."""

import glob
import os
from collections import defaultdict
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import Clip, printable

VIDEOS = ('.3gp', '.avi', '.flv', '.gif', '.m4v', '.mkv', '.mov', '.mp4', '.mpeg', '.mpg', '.ts', '.webm', '.wmv')
SOUNDS = ('.aac', '.aif', '.aiff', '.flac', '.m4a', '.mp3', '.oga', '.ogg', '.opus', '.wav', '.wma')
PICTURES = ('.jpg', '.jpeg', '.png')


class Files:
    """The media files below a folder, by their names without what follows the last dot.

    A folder of numbered pictures counts as a file of the folder's name: some data sets are published, and many
    are kept, as such.

    Attributes:
      root: the folder, absolute.
      folders: those that count as files.
    """

    def __init__(self, root: Path) -> None:
        """Reads the names of everything below `root`; hidden folders and files are passed over.

        Raises:
          UserError: where there is no such folder.
        """
        if not root.is_dir():
            raise UserError(f'There is no folder {root} to look for media files in: correct --media.')
        self.root = root.absolute()
        self.folders = set[Path]()
        self._named = defaultdict[str, list[Path]](list)
        # Links may lead to a folder above, and so in circles.
        walked = {os.path.realpath(folder) for folder in self.root.parents}
        for folder, folders, names in os.walk(self.root, followlinks=True):
            if (real := os.path.realpath(folder)) in walked:
                folders.clear()
                continue
            walked.add(real)
            folders[:] = sorted(name for name in folders if not name.startswith('.'))
            for name in sorted(names):
                stem, ending = os.path.splitext(name)
                if not name.startswith('.') and ending.lower() in VIDEOS + SOUNDS:
                    self._named[stem].append(Path(folder, name))
            if any(name.lower().endswith(PICTURES) for name in names):
                self._named[os.path.basename(folder)].append(Path(folder))
                self.folders.add(Path(folder))

    def find(self, stem: str, folder: str = '') -> Path | None:
        """The file of that name, or None.

        Args:
          stem: its name without the ending.
          folder: of several files of the name, those are meant that lie in or below a folder of this name, if
            there are any; of those, the videos rather than the sounds beside them.

        Raises:
          UserError: where several are left.
        """
        paths = self._named.get(stem, [])
        if len(paths) < 2:
            return paths[0] if paths else None
        for wanted in ([path for path in paths if folder in path.relative_to(self.root).parts],
                       [path for path in paths if path.suffix.lower() in VIDEOS]):
            if len(paths) > 1 and wanted:
                paths = [path for path in paths if path in wanted]
        if len(paths) > 1:
            raise UserError(f'Both {paths[0]} and {paths[1]} could be the clip {stem}: keep one of them below '
                            f'{self.root}, or narrow --media.')
        return paths[0]

    def clip(self, path: Path | None, stem: str, split: str, labels: dict[str, str], *, id: str = '',
             start: float | None = None, end: float | None = None) -> Clip:
        """The clip of a file that `find` gave; of one that is not there, which the catalog rejects, under its stem."""
        path = path or self.root / stem
        name = printable(path.relative_to(self.root).as_posix())
        return Clip(path, name, split, id or stem, start, end, labels)


def annotation_files(argument: str) -> list[Path]:
    """The files that a source's argument names: paths or patterns (`*`, `?`), with commas between them.

    Raises:
      UserError: where one is not there.
    """
    files: list[Path] = []
    for pattern in [argument] if argument and Path(argument).exists() else argument.split(','):
        found = [Path(pattern)] if Path(pattern).exists() else [Path(name) for name in sorted(glob.glob(pattern))]
        if not pattern or not found:
            raise UserError(f'There is no annotation file {pattern!r}: name files that are there, with commas '
                            f'between them.')
        files += found
    return files


def lines_of(file: Path) -> list[str]:
    """The lines of a text that are not empty, without spaces around them.

    Raises:
      UserError: where it is no UTF-8.
    """
    try:
        return [line.strip() for line in file.read_text(encoding='utf-8-sig').splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise UserError(f'The annotation file {file} is no text in UTF-8: {error}.') from error
