"""Which published format the tensors of a file are of, under whatever names training scripts have put them."""

import collections
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from vmmjax.convert.blank import IMPOSSIBLE
from vmmjax.convert.format import Format, Network, Tensors
from vmmjax.convert.formats import FORMATS
from vmmjax.convert.report import listing
from vmmjax.errors import UserError

_LOG = logging.getLogger(__name__)
_DEEPEST = 4  # Such as `model.` of Lightning, `net.` of its module, `module.` of DistributedDataParallel.


class Recognised(NamedTuple):
    """A network in a file.

    Attributes:
      format: of its names.
      network: it.
      tensors: by the names of the format.
      where: the part of the file that they are, and the prefix of their names there; empty for the whole file.
    """

    format: Format
    network: Network
    tensors: Tensors
    where: str


def choose(parts: Mapping[str, Tensors], path: Path, part: str | None = None) -> Recognised:
    """The network in a file; where it holds several, such as weights and their moving average, it says which.

    Args:
      parts: of the file, see `files.parts`.
      path: of the file, for messages.
      part: the one that is wanted; None for the first that is a known network.

    Raises:
      UserError: where none is, or not the one that is wanted.
    """
    found: dict[str, Recognised] = {}
    faults = []
    for name, tensors in parts.items():
        try:
            if known := _under_a_prefix(tensors, name):
                found[name] = known
        except UserError as error:
            faults.append(str(error))
    if not found:
        tensors = next(iter(parts.values()))
        raise UserError(f'{path} {faults[0]}.' if faults else (
            f'{path} holds {len(tensors)} tensors of no known network: {listing(sorted(tensors))}. '
            f'Known formats: {", ".join(format.name for format in FORMATS)}.'))
    taken = next(iter(found)) if part is None else part
    if taken not in found:
        raise UserError(f'{path} has no network as its part {taken!r}; it has {", ".join(map(repr, found))}.')
    others = [name for name in found if name != taken]
    if others and part is None:
        _LOG.warning('%s holds several networks; %r was taken. Take another by part=%r, or --part of vmmjax convert: '
                     '%s.', path, taken, others[0], ', '.join(map(repr, others)))
    return found[taken]


def _under_a_prefix(tensors: Tensors, where: str) -> Recognised | None:
    """The network of these names, or of what follows the first part of most of them, `model.` say."""
    dropped = ''
    for _ in range(_DEEPEST):
        for format in FORMATS:
            try:
                network = format.recognise(format.parted(tensors))
            except IMPOSSIBLE as error:
                raise UserError(f'has names of {format.name}, but its shapes make no network of '
                                f'it: {str(error)[:300]}') from error
            if network:
                said = [where] * bool(where) + [f'without the prefix {dropped!r}'] * bool(dropped)
                return Recognised(format, network, tensors, ', '.join(said))
        prefix, count = collections.Counter(name.partition('.')[0] for name in tensors).most_common(1)[0]
        if 2 * count <= len(tensors) or count < 2:
            return None
        # What has not the prefix, such as the weights of a loss, stays, and is reported where the network lacks it.
        dropped += f'{prefix}.'
        tensors = {name.removeprefix(f'{prefix}.'): array for name, array in tensors.items()}
    return None
