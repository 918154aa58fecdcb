import pytest

from vmmjax.errors import UserError
from vmmjax.prepare.sources.media_index import Files, annotation_files


def test_files_are_found_in_folders_of_any_structure(put, tmp_path):
    for name in ('a/b/-9x_000001.mp4', 'YTID_30.000.wav', 'a/.hidden.mp4', 'a/notes.txt', 'a/clip.mp4.part',
                 '.cache/other.mp4'):
        put(name)
    files = Files(tmp_path)
    assert files.find('-9x_000001') == tmp_path / 'a/b/-9x_000001.mp4'
    assert files.find('YTID_30.000') == tmp_path / 'YTID_30.000.wav'
    assert [files.find(name) for name in ('.hidden', 'notes', 'clip', 'clip.mp4', 'other')] == [None] * 5


def test_of_files_of_one_name_the_folder_decides_and_then_the_video(put, tmp_path):
    for name in ('s1/video/a.mpg', 's1/sound/a.wav', 's2/video/a.mpg'):
        put(name)
    files = Files(tmp_path)
    assert files.find('a', 's1') == tmp_path / 's1/video/a.mpg'
    assert files.find('a', 's2') == tmp_path / 's2/video/a.mpg'
    with pytest.raises(UserError, match=r'could be the clip a: keep one'):
        files.find('a')


def test_a_folder_of_pictures_is_a_file(put, tmp_path):
    put('frames/100218/00001.jpg')
    put('frames/100218/00002.jpg')
    assert Files(tmp_path).find('100218') == tmp_path / 'frames/100218'


def test_annotation_files_are_listed_or_matched(put, tmp_path, monkeypatch):
    for name in ('b.csv', 'a.csv', 'with,comma.csv'):
        put(name)
    monkeypatch.chdir(tmp_path)
    assert [file.name for file in annotation_files('b.csv,a.csv')] == ['b.csv', 'a.csv']
    assert [file.name for file in annotation_files('?.csv')] == ['a.csv', 'b.csv']
    assert [file.name for file in annotation_files('with,comma.csv')] == ['with,comma.csv']
    for missing in ('c.csv', 'a.csv,', '*.json', ''):
        with pytest.raises(UserError, match='There is no annotation file'):
            annotation_files(missing)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(UserError, match='correct --media'):
        Files(tmp_path / 'nowhere')
