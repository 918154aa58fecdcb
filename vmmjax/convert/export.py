"""Our variables under published names: the way back."""

import re
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from vmmjax.convert.blank import Blank
from vmmjax.convert.format import Format
from vmmjax.convert.formats import FORMATS
from vmmjax.convert.match import match
from vmmjax.errors import UserError, did_you_mean


def export(variables: dict[str, Any], to: str) -> dict[str, np.ndarray]:
    """The tensors of a published file, for which loading it gives these variables.

    What PyTorch's BatchNorm has besides is there too: a factor of one where ours has none, and a counter of zero.

    Args:
      variables: of a model with one encoder.
      to: a format that is written, such as `pytorch-i3d`, or the first part of the names of several, such as
        `torchvision`.

    Returns:
      Arrays by published name, in the published layout.

    Raises:
      UserError: for an unknown format, and for a network that it does not have.
    """
    known = [format for format in FORMATS if format.exported]
    candidates = [format for format in known if format.name == to or format.name.startswith(f'{to}-')]
    if not candidates:
        raise UserError(f'There is no format {to!r} to write: {did_you_mean(to, [each.name for each in known])}.')
    for format in candidates:
        tensors = renamed(variables, format)
        network = format.recognise(tensors)
        if network:
            found = match(tensors, format, Blank(network).wanted, None)
            if not (found.missing or found.misfits or found.unused):
                return tensors
    raise UserError(f'{to} has no network with the layers of this one.')


def renamed(variables: dict[str, Any], format: Format) -> dict[str, np.ndarray]:
    """The tensors by the names of a format in layout 'torch'; none where it lacks a name."""
    tensors: dict[str, np.ndarray] = {}
    flat = flatten_dict(variables, sep='/')
    for path, value in flat.items():
        try:
            name = format.published(re.sub(r'/encoders_[^/]+/', '/encoder/', path, count=1))
        except (LookupError, ValueError):
            return {}
        if name in tensors:  # A second encoder.
            return {}
        array = np.asarray(value)
        if path.endswith('/kernel'):
            array = array.reshape((1,) * (format.kernel_axes - array.ndim) + array.shape)
            array = np.moveaxis(array, (-1, -2), (0, 1))
        tensors[name] = np.ascontiguousarray(array)
        if path.endswith('/var'):
            owner = name.removesuffix('running_var')
            tensors[f'{owner}num_batches_tracked'] = np.zeros((), np.int64)
            if path.replace('batch_stats/', 'params/', 1).removesuffix('var') + 'scale' not in flat:
                tensors[f'{owner}weight'] = np.ones_like(array)
    return tensors
