"""Names of classes.

The names of Kinetics stand in `kinetics400.txt` and `kinetics600.txt`, copied unchanged from `data/label_map.txt` and
`data/label_map_600.txt` of google-deepmind/kinetics-i3d (Copyright 2017 Google Inc., Apache License 2.0).
"""

import importlib.resources
from pathlib import Path

from vmmjax.errors import UserError

KINETICS = (400, 600)


def kinetics_classes(count: int = 400) -> list[str]:
    """The class names of Kinetics, in the order of the published networks' logits.

    Args:
      count: 400 or 600, the edition.

    Raises:
      UserError: for another number.
    """
    if count not in KINETICS:
        raise UserError(f'There is no list of {count} Kinetics classes; ask for 400 or 600.')
    file = importlib.resources.files('vmmjax.serving') / f'kinetics{count}.txt'
    return file.read_text(encoding='utf-8').splitlines()


def read_classes(path: Path) -> list[str]:
    """The names in a text file, one a line; empty lines are left out.

    Raises:
      UserError: where the file cannot be read.
    """
    try:
        lines = path.read_text(encoding='utf-8').splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'it is no text in UTF-8'
        raise UserError(f'The class names in {path} cannot be read ({reason}); name a text file with a class a '
                        f'line.') from error
    return [line.strip() for line in lines if line.strip()]
