"""Further views of a clip in a training batch."""

from collections.abc import Mapping
from typing import Any


def view(batch: Mapping[str, Any], number: int) -> dict[str, Any]:
    """One view of a batch."""
    raise NotImplementedError
