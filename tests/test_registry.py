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
    (dict(name='no_such_module:Name'), 'could not be imported'),
    (dict(name='fractions:Fractoin'), 'could not be imported'),
    (dict(width=3), 'has no name; name one of make'),
])
def test_a_wrong_name_is_one_sentence(config, message):
    with pytest.raises(UserError, match=message):
        registry.build(config, {'make': make}, 'thing')


def test_what_the_caller_sets_is_not_the_configs():
    with pytest.raises(UserError, match="no option 'depth'"):
        registry.build(dict(name='make', width=1, depth=2), {'make': make}, 'thing', depth=3)


def test_without_anything_near_all_are_listed():
    assert did_you_mean('xyz', ['rgb', 'audio']) == 'Known: audio, rgb'
