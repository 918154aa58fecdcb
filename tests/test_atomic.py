from pathlib import Path

import pytest

from vmmjax import atomic


def test_a_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / 'file.json'
    atomic.write(path, 'häuser')
    assert path.read_bytes() == 'häuser'.encode()

    def fail() -> None:
        with atomic.replacing(path) as partial:
            partial.write_text('half')
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert path.read_text(encoding='utf-8') == 'häuser'
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_whole_or_not_there(tmp_path: Path) -> None:
    def fill(names: str) -> None:
        with atomic.replacing(tmp_path / names) as partial:
            partial.mkdir()
            for name in names:
                (partial / name).touch(exist_ok=False)

    fill('ab')
    with pytest.raises(FileExistsError):
        fill('aa')
    assert sorted(path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob('*')) == ['ab', 'ab/a', 'ab/b']
    (tmp_path / f'.left{atomic.SUFFIX}' / 'inside').mkdir(parents=True)
    atomic.remove_leftovers(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['ab']


def test_temporary_names_are_hidden_beside_the_file_and_can_be_found(tmp_path: Path) -> None:
    with atomic.replacing(tmp_path / 'file') as partial:
        partial.touch()
        assert list(tmp_path.iterdir()) == [partial]
        assert partial.name.startswith('.')
    (tmp_path / 'folder').mkdir()
    partial.with_name('folder').joinpath(partial.name).touch()
    atomic.remove_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob('*')) == ['file', 'folder']
