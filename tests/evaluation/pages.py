"""Pages, as a parser and as a real browser see them."""

import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest


class Page(HTMLParser):
    """What a page holds: its text, its attributes, and whether its elements are closed in order."""

    VOID = frozenset({'meta', 'link', 'br', 'path', 'use', 'rect', 'img'})

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.tags, self.text = [], [], [], ''
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, *attribute) for attribute in attributes]

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def opened(page: Path, width: int, profile: Path) -> tuple[str, str]:
    """The document after loading, and the browser's log, of a window `width` pixels wide; skips without a browser."""
    browser = shutil.which('chromium') or shutil.which('chromium-browser') or shutil.which('google-chrome')
    if browser is None:
        pytest.skip('needs a chromium, which is not installed here')
    done = subprocess.run(
        [browser, '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
         '--disable-background-networking', '--disable-component-update', '--disable-sync',
         '--enable-logging=stderr', f'--window-size={width},2000', f'--user-data-dir={profile}', '--dump-dom',
         page.as_uri()],
        capture_output=True, text=True, timeout=120, check=True)
    return done.stdout, done.stderr
