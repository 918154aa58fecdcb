"""Imports what only an extra brings."""

import importlib
from typing import Any

from vmmjax.errors import UserError


def load(module: str, needed_by: str = 'Evaluation', extra: str = 'evaluation') -> Any:
    """Returns the module of that name, imported now and not before it is needed.

    Args:
      module: such as 'sklearn.metrics'.
      needed_by: what needs it, for the message.
      extra: that brings it.

    Raises:
      UserError: where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"{needed_by} needs {module.partition('.')[0]} ({error}): "
                        f"pip install 'vmmjax[{extra}]'.") from error
