"""The environment of the pages' templates."""

from pathlib import Path
from typing import Any

from vmmjax import optional


def templates() -> Any:
    """The environment (Jinja) of the pages, whose templates lie beside this file; a name that is not given is an error.

    Raises:
      UserError: where Jinja is not installed.
    """
    jinja2 = optional.load('jinja2')
    return jinja2.Environment(loader=jinja2.FileSystemLoader(Path(__file__).parent), autoescape=True,
                              undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
