"""What pages for people promise: README is short, shows the examples as they are, and every path in a page is there."""

import re
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / name for name in ('README.md', 'ARCHITECTURE.md', 'CONTRIBUTING.md')] + sorted(ROOT.glob('docs/*.md'))


def paths_in(text):
    """The paths of the repository that a page names in backticks, its blocks of commands included.

    Names of folders count where they begin with a folder of the repository; `demo/` and `runs/` are made by commands.
    """
    tops = [path.name for path in ROOT.iterdir() if path.is_dir() and path.name not in ('demo', 'runs', 'stores')]
    words = [word for quoted in re.findall(r'```.*?```|`[^`\n]+`', text, re.DOTALL)
             for word in re.split(r'[\s`\'"=,;:()\[\]]+', quoted)]
    return {word.rstrip('/.') for word in words
            if word.split('/')[0] in tops and '/' in word and not set('*<>$…') & set(word)}


def links_in(text):
    """The relative links of a page, without what stands behind `#`."""
    return {target.partition('#')[0] for target in re.findall(r'\]\(([^)\s]+)\)', text)
            if not re.match(r'[a-z]+:|#', target)}


def test_readme_is_short():
    assert len((ROOT / 'README.md').read_text().splitlines()) <= 150


@pytest.mark.parametrize('page', PAGES, ids=lambda page: page.name)
def test_links_and_paths_exist(page):
    text = page.read_text()
    missing = [target for target in sorted(links_in(text)) if not (page.parent / target).exists()]
    missing += [name for name in sorted(paths_in(text)) if not (ROOT / name).exists()]
    assert not missing, missing


def test_what_is_looked_for():
    text = ('See [a](docs/a.md#b), [c](https://d/e.md). `tests/x.py`, `rgb/y`, `tests/*.py`:\n'
            '```\ncd tests/z; f --config=scripts/g.py:h\n```')
    assert links_in(text) == {'docs/a.md'}
    assert paths_in(text) == {'tests/x.py', 'tests/z', 'scripts/g.py'}


def test_readme_shows_the_example_with_arrays():
    code = (ROOT / 'experiments' / 'examples' / 'arrays.py').read_text()
    shown = textwrap.dedent('    config = ' + code.partition('    config = ')[2])
    assert f'```python\n{shown}```' in (ROOT / 'README.md').read_text()


def test_every_page_is_linked_from_readme():
    linked = links_in((ROOT / 'README.md').read_text())
    assert {f'docs/{page.name}' for page in ROOT.glob('docs/*.md')} <= linked
