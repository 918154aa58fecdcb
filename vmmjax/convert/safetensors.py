"""The safetensors format, read and written: a JSON table of names, dtypes, shapes and places, then the bytes."""

import json
import math
from collections.abc import Mapping
from typing import Any, BinaryIO

import ml_dtypes
import numpy as np

from vmmjax.convert.objects import check_shape
from vmmjax.errors import UserError

_DTYPES = {'F64': np.float64, 'F32': np.float32, 'F16': np.float16, 'BF16': ml_dtypes.bfloat16, 'I64': np.int64,
           'I32': np.int32, 'I16': np.int16, 'I8': np.int8, 'U64': np.uint64, 'U32': np.uint32, 'U16': np.uint16,
           'U8': np.uint8, 'BOOL': np.bool_}
# No network here has a longer one.
_LONGEST_TABLE = 10_000_000


def is_one(data: Any) -> bool:
    """Whether a file's bytes begin as the format does."""
    return data[8:9] == b'{' and int.from_bytes(data[:8], 'little') <= min(_LONGEST_TABLE, len(data))


def read(data: Any) -> dict[str, np.ndarray]:
    """The tensors, as views of the file's bytes (an `mmap`).

    Raises:
      UserError: for a damaged file; its text follows on the file's name.
    """
    end = 8 + int.from_bytes(data[:8], 'little')
    try:
        table = json.loads(bytes(data[8:end]))
        return {name: _tensor(memoryview(data)[end:], entry) for name, entry in table.items()
                if name != '__metadata__'}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(f'is a damaged file of the safetensors format ({str(error)[:200]})') from error


def _tensor(data: memoryview, entry: dict[str, Any]) -> np.ndarray:
    if entry['dtype'] not in _DTYPES:
        raise ValueError(f'dtype {entry["dtype"]!r} is not supported')
    shape, dtype, (start, stop) = tuple(entry['shape']), np.dtype(_DTYPES[entry['dtype']]), entry['data_offsets']
    check_shape(shape)
    if not 0 <= start <= stop <= len(data) or stop - start != math.prod(shape) * dtype.itemsize:
        raise ValueError('a tensor reaches beyond the file, or has another size than its shape asks for')
    # NumPy cannot read an array of no bytes at the end of a buffer.
    return np.frombuffer(data[start:stop], dtype).reshape(shape) if stop > start else np.zeros(shape, dtype)


def write(file: BinaryIO, tensors: Mapping[str, np.ndarray]) -> None:
    """Writes tensors; equal input gives equal bytes.

    Raises:
      UserError: for a dtype that the format has not.
    """
    names = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
    table, position = {}, 0
    for name, array in tensors.items():
        if array.dtype not in names:
            raise UserError(f'The array {name!r} has dtype {array.dtype}, which the safetensors format has not.')
        end = position + array.nbytes
        table[name] = dict(dtype=names[array.dtype], shape=array.shape, data_offsets=(position, end))
        position = end
    header = json.dumps(table).encode()
    header += b' ' * (-len(header) % 8)
    file.write(len(header).to_bytes(8, 'little') + header)
    for array in tensors.values():
        file.write(array.tobytes())
