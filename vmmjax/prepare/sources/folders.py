"""A folder of files for each class."""

import os
from collections.abc import Iterator
from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.media.container import fault_of
from vmmjax.prepare.sources.clip import SPLITS, Clip, printable
from vmmjax.prepare.sources.media_index import SOUNDS, VIDEOS

_NO_CLASS = 'it lies in no folder of a class'
_TOO_DEEP = 'it lies in a folder inside that of its class: move it up, or name its class in a manifest'


def read(root: Path) -> list[Clip]:
    """Reads ROOT/<class>/<file>, all in split train, or ROOT/<split>/<class>/<file>; hidden names are passed over.

    Splits may be written in capitals, if nothing else lies beside them. What lies elsewhere, or is no file, is among
    the clips with its `fault`.

    Raises:
      UserError: for a folder that holds no clips, or both splits and other folders.
    """
    tops = _visible(root)
    folders = [top for top in tops if top.is_dir()]
    split_of = {top: SPLITS[top.name.lower()] for top in folders if top.name.lower() in SPLITS}
    if len(split_of) < len(folders):  # A class may be called Train.
        split_of = {top: split for top, split in split_of.items() if top.name in SPLITS}
    if split_of and len(split_of) < len(folders):
        raise UserError(f'The folder {root} holds both splits ({", ".join(top.name for top in split_of)}) and other '
                        f'folders: keep either one folder a split or one a class.')
    walk = _Walk(root)
    clips = list(walk.stray(tops, 'train'))
    for parent, split in (split_of or {root: 'train'}).items():
        if split_of:
            clips += walk.stray(_visible(parent), split)
        for folder in _visible(parent):
            if folder.is_dir():
                clips += walk.of_class(folder, split)
    if all(clip.fault for clip in clips):
        raise UserError(f'The folder {root} holds no clips: put them into one folder a class, or name a manifest.')
    return clips


class _Walk:
    """Finds the files below a folder, each once, whatever links there are."""

    def __init__(self, root: Path) -> None:
        self._root = root
        # A link to a folder above leads in circles.
        self._above = {os.path.realpath(folder) for folder in (root.absolute(), *root.absolute().parents)}
        self._walked = set(self._above)

    def stray(self, paths: list[Path], split: str) -> Iterator[Clip]:
        """Media beside folders of classes; a list or a licence may lie there."""
        for path in paths:
            if not path.is_dir() and path.suffix.lower() in VIDEOS + SOUNDS:
                yield self._clip(path, split, '', _NO_CLASS)

    def of_class(self, folder: Path, split: str) -> Iterator[Clip]:
        """Everything in the folder of a class."""
        if os.path.realpath(folder) in self._above:
            yield self._clip(folder, split, '', 'it is a link to a folder above it')
            return
        self._begin(folder)
        for path in _visible(folder):
            if path.is_dir():
                yield from self._inside(path, split, folder.name)
            else:
                yield self._clip(path, split, folder.name, fault_of(path))

    def _inside(self, folder: Path, split: str, label: str) -> Iterator[Clip]:
        if not self._begin(folder):
            yield self._clip(folder, split, label, 'it is a link to a folder that is listed already')
            return
        found = False
        for parent, folders, names in os.walk(folder):  # Follows no links.
            folders[:] = sorted(name for name in folders if not name.startswith('.'))
            for name in sorted(name for name in names if not name.startswith('.')):
                found = True
                yield self._clip(Path(parent, name), split, label, _TOO_DEEP)
        if not found:
            yield self._clip(folder, split, label, fault_of(folder))

    def _begin(self, folder: Path) -> bool:
        """Whether a folder was not seen before."""
        real = os.path.realpath(folder)
        if real in self._walked:
            return False
        self._walked.add(real)
        return True

    def _clip(self, path: Path, split: str, label: str, fault: str) -> Clip:
        name = printable(path.relative_to(self._root).as_posix())
        return Clip(path.absolute(), name, split, name, None, None, {'label': printable(label)}, fault)


def _visible(folder: Path) -> list[Path]:
    try:
        return sorted(path for path in folder.iterdir() if not path.name.startswith('.'))
    except OSError as error:
        raise UserError(f'The folder {folder} cannot be listed: {error.strerror}.') from error
