"""The page of `vmmjax serve`, and what it may load."""

import base64
import hashlib
import re

from vmmjax.reports.templates import templates


def page(run: str, *, most_bytes: int, longest: float, live: bool) -> str:
    """HTML.

    Args:
      run: its name.
      most_bytes: of an upload.
      longest: seconds of one.
      live: whether there are live sources.

    Raises:
      UserError: where Jinja is not installed.
    """
    text: str = templates().get_template('serve.html').render(run=run, most_bytes=most_bytes, longest=round(longest),
                                                              live=live)
    return text


def policy(page: str) -> str:
    """The Content-Security-Policy of the page: its own script and style, by their hashes, and this server's data."""
    hashes = {tag: "'sha256-" + base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode() + "'"
              for tag in ('script', 'style')
              if (found := re.search(f'<{tag}>(.*?)</{tag}>', page, re.DOTALL)) is not None}
    return (f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; img-src 'self' data:; "
            f"media-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
