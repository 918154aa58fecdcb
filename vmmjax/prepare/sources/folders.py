"""A folder of files for each class."""

from pathlib import Path

from vmmjax.errors import UserError
from vmmjax.prepare.sources.clip import SPLITS, Clip


def read(root: Path) -> list[Clip]:
    """Reads ROOT/<class>/<file>, all in split train, or ROOT/<split>/<class>/<file>; hidden names are passed over.

    Raises:
      UserError: for a folder that holds no clips, or both splits and other folders.
    """
    tops = _visible(root)
    split_of = {top: SPLITS[top.name] for top in tops if top.is_dir() and top.name in SPLITS}
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
