"""What loading gives: a model with its weights, and what became of every tensor and every variable."""

import collections
import dataclasses
import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from vmmjax.models import MultimodalModel
from vmmjax.text_table import aligned

# From what needs no look to what does.
FATES = ('loaded', 'reshaped', 'inflated', 'left at initialisation', 'unused', 'ignored')


@dataclasses.dataclass(frozen=True)
class Entry:
    """One tensor.

    Attributes:
      fate: one of `FATES`. 'loaded' is taken over, with its axes in our order; 'reshaped' lost or got axes of size 1
        besides; 'unused' was allowed to be, 'ignored' holds nothing that a network needs.
      path: of our variable, such as `params/encoders_rgb/conv1/kernel`; '' where the file's tensor has none.
      name: in the file; '' where our variable has none.
      shape: of our variable, or () without one.
      file_shape: of the file's tensor, or () without one.
      note: what else was done to it, such as `float16 to float32`.
    """

    fate: str
    path: str = ''
    name: str = ''
    shape: tuple[int, ...] = ()
    file_shape: tuple[int, ...] = ()
    note: str = ''


@dataclasses.dataclass(frozen=True)
class Report:
    """The conversion of one file.

    Attributes:
      source: the file.
      format: its format's name.
      model: name and options of the model, as text.
      entries: one for every variable and every tensor.
    """

    source: str
    format: str
    model: str
    entries: tuple[Entry, ...]

    def summary(self) -> str:
        """One line: how many tensors had which fate."""
        counts = collections.Counter(entry.fate for entry in self.entries)
        listing = ', '.join(f'{counts[fate]} {fate}' for fate in FATES if counts[fate])
        return f'{self.source} ({self.format}) as {self.model}: {listing}.'

    def table(self) -> str:
        """The summary and a line for every tensor."""
        rows = [(entry.fate, entry.name or '-', _size(entry.file_shape) if entry.name else '-', entry.path or '-',
                 _size(entry.shape) if entry.path else '-', entry.note) for entry in self.entries]
        rows.insert(0, ('fate', 'in the file', 'shape', 'in the model', 'shape', ''))
        return '\n'.join([*aligned(rows), '', self.summary()])

    def json(self) -> str:
        """The same as JSON text."""
        return json.dumps({**dataclasses.asdict(self)}, indent=1) + '\n'


class Loaded(NamedTuple):
    """A network with its weights.

    Attributes:
      model: as `create_model` makes it.
      variables: `params` and, where there are running statistics, `batch_stats`.
      report: what became of every tensor.
      config: the `config.model` that makes this model.
      classes: their names, of a folder of vmmjax; None where they are not told.
    """

    model: MultimodalModel
    variables: dict[str, Any]
    report: Report
    config: dict[str, Any]
    classes: Any = None


def _size(shape: Sequence[int]) -> str:
    return 'x'.join(map(str, shape)) or 'scalar'


def listing(names: Sequence[str], most: int = 5) -> str:
    """The first of many names, for a sentence."""
    more = f' and {len(names) - most} more' if len(names) > most else ''
    return ', '.join(names[:most]) + more
