"""Where a run's config differs from another's, to be read."""

import re
from collections.abc import Collection
from pathlib import Path
from typing import Any, NamedTuple

from vmmjax import config as configs


class Difference(NamedTuple):
    """A key of the config and its values as texts, a dash where it has none; paths are shortened.

    Attributes:
      key: dotted.
      base: in the run that is compared with.
      own: in this run.
    """

    key: str
    base: str
    own: str


def differing(base: str, own: str, left_out: Collection[str] = ()) -> list[Difference]:
    """The keys at which two configs differ.

    Args:
      base: JSON of a config, of any version: a key that it does not have yet has its default.
      own: the same of another.
      left_out: dotted keys that are not looked at.
    """
    found: dict[str, tuple[Any, Any]] = {}
    for key, (left, right) in configs.differences_of(base, own).items():
        # A part that only one of them has is told key by key.
        if isinstance(left, dict) and right is None:
            found |= {name: (value, None) for name, value in _leaves(left, key).items()}
        elif isinstance(right, dict) and left is None:
            found |= {name: (None, value) for name, value in _leaves(right, key).items()}
        else:
            found[key] = (left, right)
    return [Difference(key, _text(left), _text(right)) for key, (left, right) in found.items() if key not in left_out]


def without_paths(text: str) -> str:
    """Shortens absolute paths, so that a page tells nothing of the machine: '/home/me/store' -> '…/store'.

    Paths in the current folder become relative to it. URLs such as gs://bucket/store stay.
    """
    def shortened(path: str) -> str:
        if Path(path).is_relative_to(Path.cwd()):
            return str(Path(path).relative_to(Path.cwd()))
        return '…/' + path.rstrip('/').rpartition('/')[2]

    # First what is quoted, as it may hold blanks; then what starts a word.
    text = re.sub(r"""(['"])(/[^'"\n]+)\1""", lambda match: match[1] + shortened(match[2]) + match[1], text)
    return re.sub(r"""(?<![\w:/~.…*)\]}<-])/[^\s'",;)\]}]+""", lambda match: shortened(match[0]), text)


def _leaves(values: dict[str, Any], prefix: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= _leaves(value, f'{prefix}.{key}') if isinstance(value, dict) and value else {f'{prefix}.{key}': value}
    return found


def _text(value: Any) -> str:
    return '–' if value is None else without_paths(repr(value))
