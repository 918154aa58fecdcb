"""Finds for every variable of a model its tensor in a file, and brings that into the variable's layout."""

import dataclasses
import re
from collections.abc import Mapping, Sequence

import numpy as np

from vmmjax.convert.format import Format
from vmmjax.convert.report import Entry, listing
from vmmjax.errors import UserError, did_you_mean
from vmmjax.training.fitting import INFLATIONS, inflated

# Path of a variable -> its shape and dtype.
Wanted = Mapping[str, tuple[tuple[int, ...], np.dtype]]


@dataclasses.dataclass(frozen=True)
class Inflation:
    """How weights of pictures become weights of clips, and those of a colour picture become those of motion.

    Attributes:
      way: 'mean' or 'centre', see `training.fitting.inflated`.
      channels: of the file's input, and of the model's. Where they differ the stem gets the mean over the file's.
    """

    way: str
    channels: tuple[int, int]

    def __post_init__(self) -> None:
        """Checks the way."""
        if self.way not in INFLATIONS:
            raise UserError(f'There is no way to inflate {self.way!r}: {did_you_mean(self.way, INFLATIONS)}.')

    def apply(self, kernel: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The kernel with an axis for time, and with the model's input channels, where `shape` wants these."""
        if (kernel.shape[-2], shape[-2]) == self.channels and kernel.shape[-2] != shape[-2]:
            kernel = np.repeat(kernel.mean(-2, keepdims=True, dtype=np.float32), shape[-2], -2)
        if kernel.ndim == 4 and kernel.shape == shape[1:]:
            return inflated(kernel, shape[0], self.way)
        return kernel


def fit(tensor: np.ndarray, path: str, shape: tuple[int, ...], layout: str,
        inflation: Inflation | None) -> tuple[np.ndarray, str] | None:
    """A tensor in our layout, and its fate; None where its sizes do not agree with `shape`."""
    if path.endswith('/kernel') and tensor.ndim > 1:
        if layout == 'torch':
            tensor = np.moveaxis(tensor, (0, 1), (-1, -2))
        if inflation and tensor.shape != shape and len(shape) > 2:
            fitting = inflation.apply(tensor, shape)
            if fitting.shape == shape:
                return fitting, 'inflated'
    if tensor.shape == shape:
        return tensor, 'loaded'
    if [size for size in tensor.shape if size != 1] == [size for size in shape if size != 1]:
        return tensor.reshape(shape), 'reshaped'
    return None


def cast(tensor: np.ndarray, dtype: np.dtype, name: str) -> tuple[np.ndarray, str]:
    """A copy in another dtype, and a note where it was of another.

    Raises:
      UserError: where it is not of finite real numbers.
    """
    if tensor.dtype.kind == 'c':
        raise UserError(f'The tensor {name} holds complex numbers.')
    with np.errstate(over='ignore'):
        value = np.array(tensor, dtype, order='C')
    if not np.isfinite(value).all():
        raise UserError(f'The tensor {name} holds values that are not finite numbers; the file is damaged, or its '
                        f'training diverged.')
    source = tensor.dtype.newbyteorder('=')
    return value, '' if source == dtype else f'{source} to {dtype}'


def patterns(given: str | Sequence[str], names: Sequence[str], what: str) -> list[re.Pattern[str]]:
    """Regular expressions, each of which must be found in some name.

    Args:
      given: one or several, searched anywhere in a name.
      names: that they are for.
      what: the argument that they come from, for the message.

    Raises:
      UserError: for one that is no regular expression, or matches nothing.
    """
    found = []
    for pattern in (given,) if isinstance(given, str) else given:
        try:
            found.append(re.compile(pattern))
        except re.error as error:
            raise UserError(f'The pattern {pattern!r} of {what} is no regular expression: {error}.') from error
        if not any(found[-1].search(name) for name in names):
            raise UserError(f'The pattern {pattern!r} of {what} matches nothing; there is '
                            f'{listing(sorted({name.rpartition("/")[0] or name for name in names}))}.')
    return found


@dataclasses.dataclass
class Matched:
    """What `match` found.

    Attributes:
      values: path -> array, for every variable that the file has.
      entries: of the report, for every tensor and variable.
      missing: path -> the name that the file does not have.
      misfits: path -> what is wrong with its tensor's shape, as a clause.
      unused: names of tensors without a variable.
    """

    values: dict[str, np.ndarray]
    entries: list[Entry]
    missing: dict[str, str]
    misfits: dict[str, str]
    unused: list[str]


def match(tensors: Mapping[str, np.ndarray], format: Format, wanted: Wanted, inflation: Inflation | None) -> Matched:
    """Compares a file with a model.

    Args:
      tensors: of the file, by name.
      format: of the file.
      wanted: of the model.
      inflation: None where every tensor must have the variable's sizes.

    Raises:
      UserError: for a tensor that is not of finite numbers.
    """
    result = Matched({}, [], {}, {}, [])
    left: dict[str, str] = {}
    for name in tensors:
        left.setdefault(format.canonical(name), name)
    used = set()
    for path, (shape, dtype) in wanted.items():
        published = format.published(re.sub(r'/encoders_[^/]+/', '/encoder/', path, count=1))
        if published not in left:
            result.missing[path] = published
            result.entries.append(Entry('left at initialisation', path, shape=shape))
            continue
        name = left[published]
        used.add(name)
        fitted = fit(tensors[name], path, shape, format.layout, inflation)
        if fitted is None:
            result.misfits[path] = f'{name} has shape {tensors[name].shape} and {path} needs {shape}'
            result.entries.append(Entry('left at initialisation', path, name, shape, tensors[name].shape,
                                        'its sizes in the file are others'))
            continue
        result.values[path], note = cast(fitted[0], dtype, name)
        result.entries.append(Entry(fitted[1], path, name, shape, tensors[name].shape, note))
    for name in tensors:
        if name not in used:
            ignored = re.search(format.ignored, name) is not None
            result.entries.append(Entry('ignored' if ignored else 'unused', name=name, file_shape=tensors[name].shape))
            if not ignored:
                result.unused.append(name)
    return result
