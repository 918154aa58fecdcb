"""What orbax and tensorstore say on the terminal that is of no use to anybody."""

import logging
import sys
from typing import Any


def silence() -> None:
    """Leaves it out, for the rest of the process; all else is said as before."""
    for name in ('absl', 'asyncio'):
        logging.getLogger(name).addFilter(_is_of_use)
    before = sys.unraisablehook

    def hook(unraisable: Any) -> None:
        # When one write of a save has failed, the others find that nobody waits for them any more, each with a
        # traceback. The failure itself is raised.
        if not (unraisable.exc_type is RuntimeError and str(unraisable.exc_value) == 'Event loop is closed'):
            before(unraisable)

    sys.unraisablehook = hook


def _is_of_use(record: logging.LogRecord) -> bool:
    said = record.getMessage()
    # The format that `Checkpoints` writes needs no metadata. Of several writes that fail one is raised.
    return not (said.startswith('Metadata file does not exist') or
                (said.startswith('Task exception was never retrieved') and 'orbax' in said))
