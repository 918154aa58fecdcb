from pathlib import Path

import pytest

from vmmjax.errors import UserError
from vmmjax.reports import results_page


def test_what_stands_between_the_lines_is_replaced(tmp_path: Path) -> None:
    page = tmp_path / 'page.md'
    page.write_text(f'# Ours\n\n{results_page.BEGIN}\n\nold\n\n{results_page.END}\n\nAfter.\n')
    for text in ('one', 'two'):
        results_page.insert(page, 'today', text)
        assert page.read_text() == (f'# Ours\n\n{results_page.BEGIN}\n\ntoday\n\n{text}\n\n{results_page.END}\n\n'
                                    'After.\n')


@pytest.mark.parametrize('text', [None, 'no lines', f'{results_page.BEGIN} alone'])
def test_a_page_without_the_lines_stays_as_it_is(tmp_path: Path, text: str | None) -> None:
    page = tmp_path / 'page.md'
    if text is not None:
        page.write_text(text)
    with pytest.raises(UserError, match=r'page.md has no lines <!-- tables'):
        results_page.insert(page, 'table')
    assert (page.read_text() if page.exists() else None) == text


def test_a_machine_is_one_line_with_the_versions_that_are_there() -> None:
    found = results_page.machine(('numpy', 'no-such-package'))
    assert '\n' not in found
    assert 'numpy 2' in found
    assert 'no-such-package' not in found
