"""Files that PyTorch writes, `.pth` and `.pt`, read and written without PyTorch.

Of both forms: the zip archive of PyTorch 1.6 and later, and the older row of pickles followed by raw storages.
"""

import io
import math
import pickle
import struct
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from vmmjax.convert import pickles
from vmmjax.convert.torchobjects import DTYPES, KNOWN, Storages
from vmmjax.errors import UserError

# The first pickle of the older form.
MAGIC = 0x1950A86A20F9469CFC6C


def read_zip(data: Any) -> Any:
    """The object in a zip archive, see `pickles.load`.

    Args:
      data: an `mmap` of the file.

    Raises:
      UserError: for a damaged or compressed archive, one without tensors, and whatever `pickles.load` refuses.
    """
    try:
        # The archive's own comparison of sizes and offsets; contents are cut out of the file below.
        with zipfile.ZipFile(data) as archive:
            entries = {entry.filename.partition('/')[2]: entry for entry in archive.infolist()}
    except (zipfile.BadZipFile, struct.error, ValueError, LookupError, NotImplementedError, OSError, EOFError) as error:
        raise UserError(f'is a zip archive that is damaged or cut off ({error})') from error
    if 'data.pkl' not in entries:
        raise UserError('is a zip archive without the data.pkl that PyTorch writes')
    if 'constants.pkl' in entries:
        raise UserError('is a TorchScript program; save its tensors: '
                        'torch.save(torch.jit.load(path).state_dict(), another)')
    if 'byteorder' in entries and bytes(_entry(data, entries['byteorder'])) != b'little':
        raise UserError('was written by a big-endian machine, which is not supported')
    storages = Storages()
    program = _entry(data, entries['data.pkl'])
    found = pickles.load(io.BytesIO(program), len(data), KNOWN, storages)
    for key, each in storages.of.items():
        if f'data/{key}' not in entries:
            raise UserError(f'lacks its entry data/{key[:50]}; it is damaged')
        content = _entry(data, entries[f'data/{key}'])
        for storage in each:
            storage.data = content
    return found


def _entry(data: Any, entry: zipfile.ZipInfo) -> memoryview:
    """The bytes of an archive's entry."""
    fault = f'has an entry {entry.filename[:80]!r} that is damaged'
    if entry.compress_type != zipfile.ZIP_STORED or entry.file_size != entry.compress_size or entry.flag_bits & 1:
        raise UserError(f'has a compressed entry {entry.filename[:80]!r}, which PyTorch never writes; it was not '
                        f'unpacked')
    header = bytes(data[entry.header_offset:entry.header_offset + 30])
    if len(header) < 30 or header[:4] != b'PK\x03\x04':
        raise UserError(fault)
    start = entry.header_offset + 30 + sum(struct.unpack('<HH', header[26:]))
    content = memoryview(data)[start:start + entry.file_size]
    if len(content) != entry.file_size or zlib.crc32(content) != entry.CRC:
        raise UserError(fault)
    return content


def read_legacy(data: Any) -> Any:
    """The object in a file of PyTorch before 1.6, see `read_zip`; `data` stands at its first byte."""
    size = len(data)
    storages = Storages()
    magic, protocol, system = (pickles.load(data, size) for _ in range(3))
    if magic != MAGIC or protocol != 1001 or not isinstance(system, dict) or system.get('little_endian') is not True:
        raise UserError('is a file of PyTorch of a kind that is not supported (its header is another)')
    found = pickles.load(data, size, KNOWN, storages)
    keys = pickles.load(data, size)
    view, position = memoryview(data), data.tell()
    if not isinstance(keys, list):
        raise UserError('is damaged (its list of storages is none)')
    for key in keys:
        each = storages.of.pop(key, None) if isinstance(key, str) else None
        count = int.from_bytes(view[position:position + 8], 'little')
        if not each or position + 8 + count * each[0].dtype.itemsize > size:
            raise UserError('is cut off or damaged: it ends before its last tensor')
        content = view[position + 8:position + 8 + count * each[0].dtype.itemsize]
        position += 8 + len(content)
        for storage in each:
            storage.data = content
    if storages.of:
        raise UserError('is damaged: it lacks the data of a tensor')
    return found


def save(path: str | Path, tensors: Mapping[str, Any]) -> None:
    """Writes what `torch.load(path, weights_only=True)` reads.

    Args:
      path: of the file.
      tensors: name -> array, or a mapping of the same kind. Equal input gives equal bytes.

    Raises:
      UserError: for an array that is not of numbers.
    """
    program = io.BytesIO()
    contents = list(write_pickle(program, tensors, ()))
    with zipfile.ZipFile(path, 'w', zipfile.ZIP_STORED) as archive:
        for name, content in {'data.pkl': program.getvalue(), 'byteorder': b'little', **{
                f'data/{key}': content for key, (content, _) in enumerate(contents)}, 'version': b'3\n'}.items():
            archive.writestr(zipfile.ZipInfo(f'archive/{name}'), content)


def write_pickle(program: Any, tensors: Mapping[str, Any], view: tuple[Any, ...]) -> Iterator[tuple[bytes, int]]:
    """Writes the pickle of nested mappings of arrays, and gives the storages' bytes in order.

    Args:
      program: file to write to; complete when the last storage was given.
      tensors: see `save`.
      view: what follows a storage's count in its id: nothing, or (None,) in the older form.

    Yields:
      The bytes of storage '0', '1', ..., and the size of its numbers.
    """
    names = {np.dtype(dtype): f'{name}Storage' for name, dtype in DTYPES.items()}
    count = 0

    def write(*values: Any) -> None:
        for value in values:
            if isinstance(value, bytes):
                program.write(value)
            else:  # A plain value as the standard pickler writes it, without its frame.
                program.write(pickle.dumps(value, 2)[2:-1])

    def mapping(items: Mapping[str, Any]) -> Iterator[tuple[bytes, int]]:
        nonlocal count
        write(b'}(')
        for name, value in items.items():
            write(str(name))
            if isinstance(value, Mapping):
                yield from mapping(value)
                continue
            array = np.asarray(value)
            if array.dtype not in names:
                raise UserError(f'The array {name!r} has dtype {array.dtype}, for which PyTorch has no storage.')
            strides = tuple(math.prod(array.shape[axis + 1:]) for axis in range(array.ndim))
            write(b'ctorch._utils\n_rebuild_tensor_v2\n((', 'storage', f'ctorch\n{names[array.dtype]}\n'.encode(),
                  str(count), 'cpu', array.size, *view, b'tQ', 0, array.shape, strides, False,
                  b'ccollections\nOrderedDict\n)RtR')
            count += 1
            yield array.tobytes(), array.itemsize
        write(b'u')

    write(b'\x80\x02')
    yield from mapping(tensors)
    write(b'.')
