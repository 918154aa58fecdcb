"""Imports what only the extra `[evaluation]` brings."""

import importlib
from pathlib import Path
from typing import Any

from vmmjax.errors import UserError


def load(module: str) -> Any:
    """Returns the module of that name, imported now and not before it is needed.

    Args:
      module: such as 'sklearn.metrics'.

    Raises:
      UserError: where it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UserError(f"Evaluation needs {module.partition('.')[0]} ({error}): "
                        f"pip install 'vmmjax[evaluation]'.") from error


def templates() -> Any:
    """The environment (Jinja) of the pages, whose templates lie beside this file; a name that is not given is an error.

    Raises:
      UserError: where Jinja is not installed.
    """
    jinja2 = load('jinja2')
    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                              undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
