"""What stands in a pickle of PyTorch: storages, and tensors that are views of them."""

import dataclasses
import math
from typing import Any

import ml_dtypes
import numpy as np

from vmmjax.convert.objects import Global, Inert, Leaf, Stateful, check_shape

DTYPES: dict[str, Any] = {
    'Float': np.float32, 'Double': np.float64, 'Half': np.float16, 'BFloat16': ml_dtypes.bfloat16, 'Long': np.int64,
    'Int': np.int32, 'Short': np.int16, 'Char': np.int8, 'Byte': np.uint8, 'Bool': np.bool_,
    'ComplexFloat': np.complex64, 'ComplexDouble': np.complex128}
# Those for which PyTorch has no storage of their own name themselves so.
_NAMES = {name: np.dtype(name) for name in ('float32', 'float64', 'float16', 'int64', 'int32', 'int16', 'int8', 'uint8',
                                            'uint16', 'uint32', 'uint64', 'bool', 'complex64', 'complex128')}
_NAMES['bfloat16'] = np.dtype(ml_dtypes.bfloat16)


class _StorageType(Global):
    """A class of storages; nothing calls it."""

    def __init__(self, dtype: Any) -> None:
        super().__init__(lambda *_: Inert(), inert=True)
        self.dtype = np.dtype(dtype)


class _DType(Global):
    """A dtype, which is a name of the module and no call."""

    def __init__(self, dtype: np.dtype) -> None:
        super().__init__(lambda *_: Inert(), inert=True)
        self.dtype = dtype


@dataclasses.dataclass
class _Storage:
    """A row of numbers in the file; `data` is found after the pickle was read."""

    key: str
    dtype: np.dtype
    start: int = 0
    data: Any = None


@dataclasses.dataclass
class _Tensor(Stateful, Leaf):
    """A view of a storage, as `torch._utils._rebuild_tensor` is asked for."""

    storage: Any
    offset: Any
    shape: Any
    strides: Any
    dtype: np.dtype | None = None

    def set_state(self, state: Any) -> None:
        """Drops attributes that were put on a tensor."""

    def array(self) -> np.ndarray:
        """The tensor."""
        storage, shape, strides = self.storage, self.shape, self.strides
        check_shape(shape)
        check_shape(strides)
        if not isinstance(storage, _Storage) or type(self.offset) is not int or len(shape) != len(strides):
            raise ValueError('it is no view of a storage')
        dtype = self.dtype or storage.dtype
        data = memoryview(b'' if storage.data is None else storage.data)
        count = math.prod(shape)
        first = storage.start + self.offset
        last = first + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True)) if count else first
        if min(storage.start, self.offset) < 0 or (count and (last + 1) * dtype.itemsize > len(data)):
            raise ValueError('it reaches beyond the data in the file')
        if count * dtype.itemsize > len(data):
            raise ValueError('it repeats its data, as an expanded tensor does; save a contiguous one')
        if not count:
            return np.zeros(shape, dtype)
        flat = np.frombuffer(data, np.uint8, (last + 1 - first) * dtype.itemsize, first * dtype.itemsize).view(dtype)
        return np.lib.stride_tricks.as_strided(flat, shape, [stride * dtype.itemsize for stride in strides],
                                               writeable=False)


def _rebuild(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides)


def _rebuild_as(storage: Any, offset: Any, shape: Any, strides: Any, _: Any, __: Any, dtype: Any, *___: Any) -> _Tensor:
    return _Tensor(storage, offset, shape, strides, dtype.dtype)


def _rebuild_from_type(function: Any, _: Any, arguments: Any, *__: Any) -> Any:
    if not isinstance(function, Global) or function.build not in (_rebuild, _rebuild_as, _first):
        raise ValueError('a tensor made by no known function')
    return function.build(*arguments)


def _first(value: Any, *_: Any) -> Any:
    return value


KNOWN: dict[str, Global] = {
    'torch._utils._rebuild_tensor': Global(_rebuild),
    'torch._utils._rebuild_tensor_v2': Global(_rebuild),
    'torch._utils._rebuild_tensor_v3': Global(_rebuild_as),
    'torch._utils._rebuild_parameter': Global(_first),
    'torch._utils._rebuild_parameter_with_state': Global(_first),
    'torch._tensor._rebuild_from_type_v2': Global(_rebuild_from_type),
    'torch.Size': Global(_first),
    'torch.Tensor': Global(lambda *_: Inert(), inert=True),
    'torch.nn.parameter.Parameter': Global(lambda *_: Inert(), inert=True),
    'torch.device': Global(lambda *_: Inert(), inert=True),
    'torch.storage.UntypedStorage': _StorageType(np.uint8),
    **{f'torch.{name}Storage': _StorageType(dtype) for name, dtype in DTYPES.items()},
    **{f'torch.{name}': _DType(dtype) for name, dtype in _NAMES.items()},
}


class Storages:
    """The storages that a pickle speaks of, by key."""

    def __init__(self) -> None:
        self.of: dict[str, list[_Storage]] = {}

    def __call__(self, identity: Any) -> _Storage:
        """What stands for a persistent id: ('storage', class, key, device, count[, view])."""
        if not isinstance(identity, tuple) or len(identity) not in (5, 6) or identity[0] != 'storage' or not (
                isinstance(identity[1], _StorageType) and isinstance(identity[2], str)):
            raise ValueError('a persistent id that is no storage')
        view = identity[5] if len(identity) == 6 else None
        start = view[1] if view else 0
        if type(start) is not int:
            raise ValueError('a view of a storage that begins nowhere')
        storage = _Storage(identity[2], identity[1].dtype, start)
        self.of.setdefault(storage.key, []).append(storage)
        return storage
