from pathlib import Path

import pytest

from vmmjax.errors import UserError
from vmmjax.prepare.sources import listing


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ('b.MP4', 'a.wav', 'notes.txt', '.hidden.mp4', 'inner/c.mkv', 'inner/.deep/d.mp4', 'odd [1].mp4'):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True, parents=True)
        path.touch()
    return tmp_path


def test_files_folders_patterns_and_lines(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    lines = ['x y.mp4\n', '\n', 'z.wav']
    found = listing.read(['nowhere.mp4', '-', 'inner', '*.wav', 'odd [1].mp4', '**/*.mkv'], lines)
    assert [clip.id for clip in found] == ['nowhere.mp4', 'x y.mp4', 'z.wav', 'inner/c.mkv', 'a.wav', 'odd [1].mp4',
                                           'inner/c.mkv']
    assert found[0].path == folder / 'nowhere.mp4', 'that it is not there costs only this file'
    assert listing.read(['a' * 300])[0].id == 'a' * 300, 'nor is one whose name no file may have'
    assert [path.name for path in listing.below(folder)] == ['a.wav', 'b.MP4', 'odd [1].mp4', 'c.mkv']


def test_a_list_has_parts_and_texts(folder: Path) -> None:
    (folder / 'list.csv').write_text('path,start,end,text\na.wav,0.5,2,hello there\nb.MP4,,,\n')
    one, other = listing.read([str(folder / 'list.csv')])
    assert (one.path, one.start, one.end, one.labels) == (folder / 'a.wav', 0.5, 2.0, {'text': 'hello there'})
    assert (other.id, other.start, other.split) == ('b.MP4', None, 'predict')
    (folder / 'list.csv').write_text('file\na.wav\n')
    with pytest.raises(UserError, match="has no column 'path' among file: add one; path is needed"):
        listing.read([str(folder / 'list.csv')])


@pytest.mark.parametrize(('argument', 'said'), [
    ('-', 'Nothing was read from the standard input'), ('{folder}/inner/.deep/../../empty', 'holds no video or sound'),
    ('{folder}/*.flac', 'No file matches')])
def test_what_names_nothing(folder: Path, argument: str, said: str) -> None:
    (folder / 'empty').mkdir()
    with pytest.raises(UserError, match=said):
        listing.read([argument.format(folder=folder)], ['\n'])
