"""Files of extracted features: what a network made of each window of one video, or of some clips of a store.

A file holds arrays of one row a window: the endpoints by their names, `t_start` and `t_end` in seconds of the clip, and
of a store's clips `row`, `id`, `split` and `catalog/<column>`. The folder's `features.json` says how it was made. Two
formats hold the same: `.npz`, and `.array_record`, a `tf.train.Example` a window, its floats flat.
"""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax import atomic
from vmmjax.errors import UserError, did_you_mean

SETTINGS = 'features.json'
FORMATS = ('npz', 'array_record')
TIMES = ('t_start', 't_end')
CATALOG = 'catalog/'  # Before the names of catalog columns.
_OF_CLIPS = ('row', 'id', 'split')
_SOURCES = 'sources'

Arrays = dict[str, np.ndarray]


def begin(folder: Path, settings: Mapping[str, Any], sources: Sequence[tuple[str, str]] = ()) -> list[Path]:
    """Makes the folder, or checks that what is there was made alike, so that a stopped run can go on.

    Args:
      folder: of the features.
      settings: plain JSON values: how they are made; their `format` is one of `FORMATS`.
      sources: name and SHA-256 of each file that features are made of.

    Returns:
      Where the features of each of `sources` belong: `<name>.<format>`, and where another file of the name came first,
      with the beginning of its SHA-256. The settings of the folder record which is whose, as `sources`.

    Raises:
      UserError: names what was different, or says that the folder cannot be written.
    """
    path = folder / SETTINGS
    wanted = json.loads(json.dumps(settings))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        there = read_settings(folder) if path.exists() else wanted | {_SOURCES: {}}
        for key in sorted((there.keys() | wanted.keys()) - {_SOURCES}):
            if there.get(key) != wanted.get(key):
                raise UserError(f'The features in {folder} were made with {key}={there.get(key)}, not '
                                f'{wanted.get(key)}; name another --output, or delete that folder.')
        if sources and _SOURCES not in there:
            raise UserError(f'The features in {folder} were made by an older vmmjax, which did not record of which '
                            f'files; name another --output, or delete that folder.')
        owners, found = dict(there.get(_SOURCES, {})), list[Path]()
        for name, content in sources:
            plain, other = (folder / f'{name}{mark}.{wanted["format"]}' for mark in ('', f'.{content[:8]}'))
            is_taken = owners.get(plain.name, content) != content and (plain in found or plain.exists())
            found.append(other if is_taken else plain)
            owners[found[-1].name] = content
        made = wanted | ({_SOURCES: owners} if owners else {})
        if not path.exists() or made != there:
            atomic.write(path, json.dumps(made, indent=2) + '\n')
        return found
    except OSError as error:
        raise UserError(f'{folder} cannot be written ({error.strerror}); make room, or name another --output.'
                        ) from error


def read_settings(folder: Path) -> dict[str, Any]:
    """How the features of a folder were made.

    Raises:
      UserError: where the folder holds none.
    """
    try:
        return json.loads((folder / SETTINGS).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise UserError(f'{folder} holds no features (no readable {SETTINGS}); make some with `vmmjax extract`.'
                        ) from error


def write(path: Path, batches: Iterable[Arrays], settings: Mapping[str, Any]) -> int:
    """Writes a file, whole or not at all; records as they come, a `.npz` from memory.

    Args:
      path: its suffix is one of `FORMATS`.
      batches: the windows' arrays, some rows at a time.
      settings: as of `begin`; a `.npz` holds them too, as JSON text `settings`.

    Returns:
      The number of windows.
    """
    if path.suffix == '.npz':
        found = list(batches)
        arrays = {key: np.concatenate([batch[key] for batch in found]) for key in found[0]} if found else {}
        buffer = io.BytesIO()
        np.savez(buffer, settings=json.dumps(settings), **arrays)  # type: ignore[arg-type]
        atomic.write(path, buffer.getvalue())
        return len(arrays['t_start']) if arrays else 0
    from array_record.python.array_record_module import ArrayRecordWriter

    count = 0
    with atomic.replacing(path) as partial:
        writer = ArrayRecordWriter(str(partial), 'group_size:1')
        try:
            for batch in batches:
                for i in range(len(batch['t_start'])):
                    writer.write(_example({key: values[i] for key, values in batch.items()}))
                    count += 1
        finally:
            writer.close()
    return count


def read(path: Path) -> Arrays:
    """All windows of a file or of a folder of files, those of clips in the order of the catalog.

    Args:
      path: a `.npz`, a `.array_record`, or the folder that `vmmjax extract` wrote.

    Raises:
      UserError: where there is none, or one is damaged.
    """
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix[1:] in FORMATS and file.name[0] != '.')
        if not files:
            raise UserError(f'{path} holds no features; make some with `vmmjax extract`.')
        parts = [part for part in map(_read_file, files) if part]
        found = {key: np.concatenate([part[key] for part in parts]) for key in parts[0]} if parts else {}
    else:
        found = _read_file(path)
    if not found:
        raise UserError(f'{path} holds no window: all clips were shorter than one and --tail=drop left them out.')
    if 'row' not in found:
        return found
    order = np.lexsort((found['t_start'], found['row']))
    return {key: values[order] for key, values in found.items()}


def endpoints(found: Mapping[str, np.ndarray]) -> list[str]:
    """The names of the arrays that a network made."""
    return [key for key in found if key not in (*TIMES, *_OF_CLIPS) and not key.startswith(CATALOG)]


def of_clips(path: Path, endpoint: str) -> tuple[np.ndarray, Arrays]:
    """One vector a clip of a store: the mean over its windows, and over all axes of an endpoint but the last.

    Args:
      path: see `read`.
      endpoint: which; empty for the only one, or `features`.

    Returns:
      float32 (N, D), and the catalog's columns with `row`, `id` and `split`, (N,) each.

    Raises:
      UserError: for features of files, which the catalog knows nothing of, or an endpoint that is not there.
    """
    found = read(path)
    names = endpoints(found)
    if 'row' not in found:
        raise UserError(f'{path} holds features of files, which have no labels; prepare a store of them and extract '
                        f'from it: `vmmjax extract STORE --output=...`.')
    endpoint = endpoint or (names[0] if len(names) == 1 else 'features')
    if endpoint not in names:
        raise UserError(f'{path} has no endpoint {endpoint!r}: {did_you_mean(endpoint, names)}.')
    rows, first, counts = np.unique(found['row'], return_index=True, return_counts=True)
    x = found[endpoint].astype(np.float64)
    x = x.mean(axis=tuple(range(1, x.ndim - 1))) if x.ndim > 2 else x.reshape(len(x), -1)
    mean = np.add.reduceat(x, first) / counts[:, None]
    labels = {key.removeprefix(CATALOG): values[first] for key, values in found.items()
              if key in _OF_CLIPS or key.startswith(CATALOG)}
    return mean.astype(np.float32), labels | {'row': rows}


def _example(values: Mapping[str, np.generic | np.ndarray]) -> bytes:
    """A `tf.train.Example` of one window: texts as bytes, integers as int64, and floats flat with their shape."""
    from tensorflow_datasets.proto import tf_example_pb2

    example = tf_example_pb2.Example()
    feature = example.features.feature
    for key, value in values.items():
        array = np.asarray(value)
        if array.dtype.kind == 'U':
            feature[key].bytes_list.value.append(str(array).encode())
        elif array.dtype.kind == 'i':
            feature[key].int64_list.value.append(int(array))
        else:
            feature[key].float_list.value.extend(array.ravel().tolist())
            feature[f'{key}/shape'].int64_list.value.extend(array.shape)
    return example.SerializeToString(deterministic=True)


def _read_file(path: Path) -> Arrays:
    try:
        if path.suffix == '.npz':
            with np.load(path) as found:
                return {key: found[key] for key in found.files if key != 'settings'}
        if path.suffix == '.array_record':
            return _read_records(path)
    except (OSError, ValueError, RuntimeError, EOFError) as error:
        raise UserError(f'The features {path} cannot be read ({error}); delete that file and run `vmmjax extract` '
                        f'again.') from error
    raise UserError(f'{path} is no file of features; name a folder that `vmmjax extract` wrote, or one of its files.')


def _read_records(path: Path) -> Arrays:
    from array_record.python.array_record_module import ArrayRecordReader
    from tensorflow_datasets.proto import tf_example_pb2

    rows: dict[str, list[Any]] = {}
    reader = ArrayRecordReader(str(path))
    try:
        for record in reader.read_all() if reader.num_records() else []:
            feature = tf_example_pb2.Example.FromString(record).features.feature
            for key in feature:
                if key.endswith('/shape'):
                    continue
                kind = feature[key].WhichOneof('kind')
                values = getattr(feature[key], kind).value
                if kind == 'bytes_list':
                    value: Any = values[0].decode()
                elif kind == 'int64_list':
                    value = values[0]
                else:
                    shape = tuple(feature[f'{key}/shape'].int64_list.value)
                    value = np.array(values, np.float64 if key in TIMES else np.float32).reshape(shape)
                rows.setdefault(key, []).append(value)
    finally:
        reader.close()
    return {key: np.array(values) for key, values in rows.items()}
