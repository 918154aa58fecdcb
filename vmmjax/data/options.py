"""Checks of a column's options."""

from typing import Any

from vmmjax.errors import UserError


def check_positive(column: Any, *names: str) -> None:
    """Raises a UserError where one of the named options of a column is not above 0."""
    for name in names:
        value = getattr(column, name)
        if value <= 0:
            raise UserError(f'The option {name} of the column {column.name} is {value}; it must be above 0.')
