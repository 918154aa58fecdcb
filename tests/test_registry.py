import sys

import pytest

from vmmjax import registry
from vmmjax.errors import UserError, did_you_mean


def make(width, depth=1):
    return width, depth


def test_our_own_and_a_users_own():
    assert registry.build(dict(name='make', width=2), {'make': make}, 'thing') == (2, 1)
    assert registry.build(dict(name='fractions:Fraction', numerator=1), {}, 'thing', denominator=2) == 0.5


@pytest.mark.parametrize(('config', 'message'), [
    (dict(name='maek'), "no thing 'maek': did you mean 'make'"),
    (dict(name='make', widht=2), "no option 'widht': did you mean 'width'"),
    (dict(name='no_such_module:Name'), "could not be imported: there is no module 'no_such_module' in /.* or on"),
    (dict(name='fractions.no_such:Name'), "there is no module 'fractions.no_such' in /"),
    (dict(name='fractions:Fractoin'), r"fractions \(/.*fractions.py\) has no 'Fractoin': did you mean 'Fraction'"),
    (dict(name='folder/file.py:Name'), r'name your own as package.module:Name'),
    (dict(name='make:'), r'name your own as package.module:Name'),
    (dict(name='math:pi'), r"'math:pi' is 3.14.*; name a class or a function"),
    (dict(width=3), 'has no name; name one of make'),
    (dict(name='make', depth=2), r"needs width: write dict\(name='make', width=...\)"),
])
def test_a_wrong_name_is_one_sentence(config, message):
    with pytest.raises(UserError, match=message):
        registry.build(config, {'make': make}, 'thing')


def test_what_the_caller_sets_is_not_the_configs():
    with pytest.raises(UserError, match="no option 'depth'"):
        registry.build(dict(name='make', width=1, depth=2), {'make': make}, 'thing', depth=3)


def test_without_anything_near_all_are_listed():
    assert did_you_mean('xyz', ['rgb', 'audio']) == 'Known: audio, rgb'


def test_what_the_caller_sets_is_passed_where_it_is_declared():
    assert registry.build(dict(name='make', width=1), {'make': make}, 'thing', depth=3, dtype='float32') == (1, 3)


def test_a_module_of_the_current_folder_comes_first_and_leaves_the_path_as_it_was(tmp_path, monkeypatch):
    (tmp_path / 'own_module_of_a_user.py').write_text('import needed_by_it\nclass Thing: pass\n')
    (tmp_path / 'needed_by_it.py').write_text('')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, 'path', [path for path in sys.path if path])
    before = list(sys.path)
    assert registry.find('own_module_of_a_user:Thing', {}, 'thing').__name__ == 'Thing'
    assert sys.path == before


def test_what_a_users_module_lacks_is_named(tmp_path, monkeypatch):
    (tmp_path / 'module_with_a_missing_import.py').write_text('import no_such_package\n')
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="could not be imported: No module named 'no_such_package'\\."):
        registry.find('module_with_a_missing_import:Thing', {}, 'thing')
