"""The one exception for what a user can cause, and the search for the name that was meant."""

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something a user can mend: one sentence that names the file, key or shape, and the remedy.

    The command line prints the sentence without a traceback and exits with status 2.
    """


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A clause that helps after a misspelt name: the nearest known name, then all of them.

    Args:
      name: what was given.
      known: what would have been right.

    Returns:
      Such as `did you mean 'audio'? Known: audio, rgb`, to be put into a sentence.
    """
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    listing = f'Known: {", ".join(names) or "none"}'
    return f'did you mean {near[0]!r}? {listing}' if near else listing
