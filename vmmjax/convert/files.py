"""Tensors by name from any of the files that published networks come in; the kind is told by the content."""

import io
import mmap
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax import atomic
from vmmjax.convert import pickles, safetensors, torchfile
from vmmjax.convert.objects import Leaf
from vmmjax.errors import UserError

# Under which key training scripts keep the tensors, beside the optimizer's and the epoch.
_WRAPPERS = ('state_dict', 'model_state_dict', 'model_state', 'model')
_PREFIXES = ('module.', '_orig_mod.')
_DEEPEST = 32
_LONGEST_NAME = 1000
_MOST_NAMES = 10_000
# Tensors may share bytes, such as tied embeddings, but not many times over.
_MOST_SHARED = 8
_MOST_PARTS, _FEWEST = 16, 4  # Dicts that are looked at as networks of their own, and arrays that each has at least.
# The last bytes of a table as TensorFlow writes it.
_TABLE = struct.pack('<Q', 0xDB4775248B80FB57)


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file, whatever wrote it: the first of its `parts`.

    Args:
      path: the file; of a TensorFlow checkpoint its prefix, one of its files or its folder.

    Returns:
      Arrays by name; they may be views of the file. Nothing in it is run.

    Raises:
      UserError: for a file that is missing, damaged, hostile or of no known kind.
    """
    return next(iter(parts(path).values()))


def parts(path: str | Path) -> dict[str, dict[str, np.ndarray]]:
    """The tensors of each part of a file that may be a network, such as weights and their moving average.

    Read are files of PyTorch (both forms), pickles and `.npz` files of arrays, safetensors, and TensorFlow's
    checkpoints of both versions. What stands beside the tensors (`{'state_dict': ..., 'epoch': ...}`) is left out,
    nested names are joined by `/`, and a prefix `module.` of all names is dropped.

    Args:
      path: see `read`.

    Returns:
      Tensors as `read` gives them, by the keys under which they lie, joined by `/`: empty for those of the whole file.
      The first is where training scripts keep the weights.

    Raises:
      UserError: see `read`.
    """
    path = Path(path)
    if (checkpoint := _tensorflow_prefix(path)) is not None:
        from vmmjax.convert import tensorflow
        return {'': tensorflow.read(checkpoint)}
    if path.is_dir():
        raise UserError(f'{path} is a folder with neither a finished run of vmmjax nor the weights of one network; '
                        f'name the file itself.')
    data = _mapped(path)
    if data[-8:] == _TABLE:
        from vmmjax.convert import tensorflow
        return {'': tensorflow.read(path)}
    try:
        (where, tree), *others = _parts(_object(data)).items()
        found = {where: _named(tree, len(data))}
    except UserError as error:
        raise UserError(f'{path} {error}.') from error
    for where, tree in others:
        with suppress(UserError):  # Such as the state of an optimizer.
            found[where] = _named(tree, len(data))
    return found


def _object(data: Any) -> Any:
    """What a file of any kind but TensorFlow's holds."""
    if not data:
        raise UserError('is empty')
    if data[:4] == b'PK\x03\x04':
        return _npz(data) or torchfile.read_zip(data)
    if data[:1] == b'\x80':
        is_torch = torchfile.MAGIC.to_bytes(10, 'little') in data[:40]
        return torchfile.read_legacy(data) if is_torch else pickles.load(data, len(data))
    if safetensors.is_one(data):
        return safetensors.read(data)
    raise UserError('is none of the files that networks are published in: PyTorch (.pth, .pt), a pickle of arrays, '
                    'safetensors, or a TensorFlow checkpoint')


def write(path: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes what PyTorch reads: `.pth` and `.pt` for `torch.load`, or `.safetensors`; whole or not at all.

    Raises:
      UserError: for another ending.
    """
    check_ending(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic.replacing(path) as partial:
        if path.suffix == '.safetensors':
            with partial.open('wb') as file:
                safetensors.write(file, tensors)
        else:
            torchfile.save(partial, tensors)


def check_ending(path: Path) -> None:
    """Refuses what `write` does not know how to write."""
    if path.suffix not in ('.pth', '.pt', '.safetensors'):
        raise UserError(f'{path} must end with .pth, .pt or .safetensors, which says how it is written.')


def _mapped(path: Path) -> Any:
    try:
        with path.open('rb') as file:
            if not file.seek(0, 2):
                return b''
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except FileNotFoundError as error:
        raise UserError(f'There is no file {path}.') from error
    except (OSError, ValueError) as error:
        raise UserError(f'{path} cannot be read: {error}.') from error


def _tensorflow_prefix(path: Path) -> Path | None:
    """The prefix of the TensorFlow checkpoint that a path means; None where it means something else."""
    if path.is_dir():
        found = list(path.glob('*.index'))
        return found[0].with_suffix('') if len(found) == 1 else None
    prefixes = [path, path.with_suffix('')] if re.fullmatch(r'\.index|\.meta|\.data-.*', path.suffix) else [path]
    return next((prefix for prefix in prefixes if prefix.with_name(f'{prefix.name}.index').is_file()), None)


def _npz(data: Any) -> dict[str, np.ndarray] | None:
    """The arrays of what `np.savez` writes; None for another archive."""
    try:
        members = zipfile.ZipFile(data).infolist()
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return None
    if not members or not all(member.filename.endswith('.npy') for member in members):
        return None
    if sum(member.file_size for member in members) > _MOST_SHARED * len(data):
        raise UserError(f'holds arrays that together are more than {_MOST_SHARED} times as large as the file')
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return dict(arrays)
    except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(f'is a damaged .npz file ({error})') from error


def _parts(tree: Any) -> dict[str, Any]:
    """The whole of what a file holds or, where they lie deeper, the dicts of arrays in it; by their keys."""
    first: list[str] = []
    inner = tree
    for key in _WRAPPERS * 2:
        if isinstance(inner, Mapping) and isinstance(inner.get(key), Mapping) and any(True for _ in _walk(inner[key])):
            first.append(key)
            inner = inner[key]
    found = {'/'.join(first): inner}
    for key, value in tree.items() if isinstance(tree, Mapping) else ():
        for name, part in [(str(key), value), *((f'{key}/{below}', deeper) for below, deeper in (
                value.items() if isinstance(value, Mapping) else ()))]:
            if isinstance(part, Mapping) and len(found) < _MOST_PARTS and sum(
                    isinstance(leaf, np.ndarray | Leaf) for leaf in part.values()) >= _FEWEST:
                found.setdefault(name, part)
    return found


def _named(tree: Any, size: int) -> dict[str, np.ndarray]:
    """Arrays by name from the object in a file of so many bytes."""
    found: dict[str, np.ndarray] = {}
    for name, leaf in _walk(tree):
        try:
            found[name] = leaf.array() if isinstance(leaf, Leaf) else leaf
        except (ValueError, OverflowError, TypeError) as error:
            raise UserError(f'holds a tensor {name} that cannot be read: {error}') from error
    if not found:
        raise UserError('holds no tensors')
    if sum(array.nbytes for array in found.values()) > _MOST_SHARED * size:
        raise UserError(f'holds tensors that together are more than {_MOST_SHARED} times as large as the file')
    return strip_prefix(found)


def strip_prefix(tensors: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The tensors without the `module.` that all their names begin with, where they do."""
    for prefix in _PREFIXES * 2:
        if all(name.startswith(prefix) for name in tensors):
            tensors = {name.removeprefix(prefix): array for name, array in tensors.items()}
    return tensors


def _walk(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every array in nested dicts and lists with its name.

    Raises:
      UserError: where there are more, or deeper ones, than any network has.
    """
    pending: list[tuple[str, int, Any]] = [('', 0, tree)]
    visited = 0
    while pending:
        name, depth, value = pending.pop()
        if isinstance(value, np.ndarray | Leaf):
            yield name, value
            continue
        items: Any = ()
        if isinstance(value, Mapping):
            items = value.items()
        elif isinstance(value, list | tuple):
            items = enumerate(value)
        visited += len(value) if items else 0
        if depth > _DEEPEST or visited > _MOST_NAMES:
            raise UserError('is nested deeper, or holds more, than any network does')
        for key, inner in reversed(list(items)):
            joined = f'{name}/{key}' if name else str(key)
            if len(joined) > _LONGEST_NAME:
                raise UserError(f'holds a name of more than {_LONGEST_NAME} letters')
            pending.append((joined, depth + 1, inner))
