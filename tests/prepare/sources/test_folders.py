import pytest

from vmmjax.errors import UserError
from vmmjax.prepare import sources


def test_a_folder_a_class(tmp_path):
    for name in ('walk/2.mp4', 'walk/1.mp4', 'run/1.mp4', 'run/.hidden'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b'x')
    (tmp_path / 'notes.txt').write_text('passed over')
    clips = sources.read(str(tmp_path))
    assert [(clip.name, clip.split, clip.labels['label']) for clip in clips] == [
        ('run/1.mp4', 'train', 'run'), ('walk/1.mp4', 'train', 'walk'), ('walk/2.mp4', 'train', 'walk')]


def test_splits_above_classes(tmp_path):
    for name in ('train/run/1.mp4', 'val/run/2.mp4', 'test/walk/3.mp4'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_bytes(b'x')
    found = {clip.name: (clip.split, clip.labels['label']) for clip in sources.read(str(tmp_path))}
    assert found == {'train/run/1.mp4': ('train', 'run'), 'val/run/2.mp4': ('validation', 'run'),
                     'test/walk/3.mp4': ('test', 'walk')}
    (tmp_path / 'other').mkdir()
    with pytest.raises(UserError, match='both splits'):
        sources.read(str(tmp_path))
