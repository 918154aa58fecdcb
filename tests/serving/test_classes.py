import pytest

from vmmjax.errors import UserError
from vmmjax.serving.classes import KINETICS, kinetics_classes, read_classes


@pytest.mark.parametrize('count', KINETICS)
def test_every_class_of_kinetics_has_a_name_of_its_own(count):
    names = kinetics_classes(count)
    assert len(names) == len(set(names)) == count
    assert names[0] == 'abseiling'
    assert names[-1] == 'zumba'


def test_the_names_are_those_that_were_published(shared_data):
    for count, name in zip(KINETICS, ('label_map.txt', 'label_map_600.txt'), strict=True):
        assert read_classes(shared_data / 'kinetics_i3d' / name) == kinetics_classes(count)


def test_another_edition_is_refused():
    with pytest.raises(UserError, match='no list of 700'):
        kinetics_classes(700)


def test_a_file_of_names(tmp_path):
    path = tmp_path / 'names.txt'
    path.write_text('juggling\n\n  Rad fahren \nçà et là\n', encoding='utf-8')
    assert read_classes(path) == ['juggling', 'Rad fahren', 'çà et là']
    with pytest.raises(UserError, match=r'none\.txt cannot be read \(No such file'):
        read_classes(tmp_path / 'none.txt')
    path.write_bytes(b'\xff\xfe\x00')
    with pytest.raises(UserError, match='no text in UTF-8'):
        read_classes(path)
