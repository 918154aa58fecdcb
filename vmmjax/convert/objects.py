"""What may stand in a pickle of weights: the names it may ask for, and what each of them makes.

NumPy's own functions take no part: they would build arrays of anything.
"""

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

# Numbers of this size have hashes of their own.
_LARGEST_KEY = 2**60
_NUMERIC = re.compile(r'[<>=|]?([fiu][1248]|c8|c16|b1|\?)')


class Global:
    """What stands for a name that a file imports: calling it calls `build`."""

    def __init__(self, build: Callable[..., Any], inert: bool = False) -> None:
        """Notes the function; `inert` where nothing of what it builds is used."""
        self.build = build
        self.inert = inert


class Stateful:
    """An object that a pickle makes first and fills later."""

    def set_state(self, state: Any) -> None:
        """Takes what BUILD gives."""
        raise NotImplementedError


class Inert(Stateful):
    """What stands for a harmless object that holds no weights; whatever is put into it is dropped."""

    def set_state(self, state: Any) -> None:
        """Drops it."""


class Leaf:
    """Something that is an array once the whole file has been read."""

    def array(self) -> np.ndarray:
        """The array, a view of the file's bytes where that can be.

        Raises:
          ValueError: says what is wrong with it.
        """
        raise NotImplementedError


class _DType(Stateful):
    """A NumPy dtype; None of `dtype` for all but numbers."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.dtype = np.dtype(code) if isinstance(code, str) and _NUMERIC.fullmatch(code) else None

    def set_state(self, state: Any) -> None:
        if self.dtype is not None and isinstance(state, tuple) and state[1] in ('<', '>'):
            self.dtype = self.dtype.newbyteorder(state[1])


class _Array(Stateful, Leaf):
    """A NumPy array or scalar."""

    def __init__(self, shape: Any = None, dtype: Any = None, fortran: Any = False, data: Any = None) -> None:
        self._parts = shape, dtype, fortran, data

    def set_state(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise ValueError('an array of another version')
        self._parts = state[1:]

    def array(self) -> np.ndarray:
        shape, dtype, fortran, data = self._parts
        if not isinstance(dtype, _DType) or dtype.dtype is None:
            raise ValueError('it is an array of objects or texts, not of numbers')
        if isinstance(data, str):  # From Python 2.
            data = data.encode('latin-1')
        check_shape(shape)
        if not isinstance(data, bytes | bytearray) or len(data) != math.prod(shape) * dtype.dtype.itemsize:
            raise ValueError('its data do not have the size that its shape asks for')
        return np.frombuffer(data, dtype.dtype).reshape(shape, order='F' if fortran else 'C')


def check_shape(shape: Any) -> None:
    """Refuses what is no shape of an array.

    Raises:
      ValueError: for anything but a tuple of up to 32 sizes below 2^40.
    """
    if not isinstance(shape, tuple) or len(shape) > 32 or not all(
            type(size) is int and 0 <= size < 2**40 for size in shape):
        raise ValueError('its shape is damaged')


def key_of(key: Any) -> Any:
    """A key of a dict, of the kinds whose hashes are quick and apart.

    Raises:
      TypeError: for others.
    """
    for part in key if isinstance(key, tuple) and len(key) < 10 else (key,):
        if not (isinstance(part, str | float | None) or (isinstance(part, int) and abs(part) < _LARGEST_KEY)):
            raise TypeError('a key that no file of weights has')
    return key


def mapping(pairs: Any = ()) -> dict[Any, Any]:
    """A dict of pairs, or a copy of one."""
    return {key_of(key): value for key, value in (pairs.items() if isinstance(pairs, dict) else pairs)}


def _encode(text: str, encoding: str = 'latin1') -> bytes:
    if encoding not in ('latin1', 'latin-1'):
        raise ValueError('bytes in another encoding than Latin-1')
    return text.encode('latin-1')


def _getattr(owner: Any, name: Any) -> Inert:
    if not (isinstance(owner, Global) and owner.inert):
        raise ValueError('an attribute of something that is none of the known harmless classes')
    return Inert()


def _inert(*names: str) -> dict[str, Global]:
    return {name: Global(lambda *_: Inert(), inert=True) for name in names}


# By module and name, `.` between. What `__builtin__` was in Python 2, and is at protocol 2, is `builtins`.
KNOWN: dict[str, Global] = {
    'collections.OrderedDict': Global(mapping),
    'collections.Counter': Global(mapping),
    'collections.defaultdict': Global(lambda _=None, pairs=(): mapping(pairs)),
    'builtins.set': Global(lambda items=(): list(items)),
    'builtins.frozenset': Global(lambda items=(): list(items)),
    'builtins.bytes': Global(lambda: b''),  # No bytes at all, at protocol 2.
    'builtins.getattr': Global(_getattr),
    '_codecs.encode': Global(_encode),
    'numpy.dtype': Global(_DType),
    'numpy.ndarray': Global(lambda *_: _Array()),
    **{f'numpy.{core}.{name}': build for core in ('core', '_core') for name, build in {
        'multiarray._reconstruct': Global(lambda *_: _Array()),
        'multiarray.scalar': Global(lambda dtype, data=b'': _Array((), dtype, False, data)),
        'numeric._frombuffer': Global(lambda data, dtype, shape, order: _Array(shape, dtype, order == 'F', data)),
    }.items()},
    **_inert('argparse.Namespace', 'types.SimpleNamespace', 'datetime.datetime', 'datetime.timedelta',
             'builtins.int', 'builtins.float', 'builtins.list', 'builtins.dict',
             *(f'{module}.{kind}Path' for module in ('pathlib', 'pathlib._local') for kind in ('Posix', 'Windows')),
             'easydict.EasyDict', 'mmcv.utils.config.ConfigDict', 'mmengine.config.config.ConfigDict',
             'mmengine.logging.history_buffer.HistoryBuffer'),
}
