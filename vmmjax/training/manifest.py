"""The manifests of checkpoints: size and SHA-256 of every file of a step, in `<step>.json`, written last.

A step without one was interrupted and does not count; one whose files differ from it is damaged.
"""

import json
from pathlib import Path

from vmmjax import atomic
from vmmjax.checksum import sha256


def write(file: Path, folder: Path) -> None:
    """Writes the manifest of a step's folder, whole or not at all."""
    files = {path.relative_to(folder).as_posix(): [path.stat().st_size, sha256(path)]
             for path in sorted(folder.rglob('*')) if path.is_file()}
    atomic.write(file, json.dumps({'files': files}, indent=1))


def steps(folder: Path) -> list[int]:
    """The steps that have one, in rising order; what else lies in the folder, such as `._480.json`, is none."""
    names = [path.stem for path in folder.glob('*.json') if path.stem.isdecimal()]
    return sorted(int(name) for name in names if name == str(int(name)))


def fault(file: Path, folder: Path) -> str | None:
    """What is wrong with a step's files, as a sentence; None where they are as they were written."""
    try:
        files = {name: (size, digest) for name, (size, digest) in json.loads(file.read_text())['files'].items()}
        if not files:
            raise ValueError('it names no files')
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        return f'The manifest {file} cannot be read ({error}).'
    for name, (size, digest) in files.items():
        path = folder / name
        if not path.is_file():
            return f'{path} is missing.'
        if path.stat().st_size != size or sha256(path) != digest:
            return f'{path} is damaged.'
    return None
