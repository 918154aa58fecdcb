import pytest

from vmmjax.errors import UserError
from vmmjax.prepare import sources


def test_sources_that_are_not_there(tmp_path):
    with pytest.raises(UserError, match="did you mean 'motion_sound'"):
        sources.read('synthetic:motion_sounds')
    with pytest.raises(UserError, match="did you mean 'synthetic:motion_sound'"):
        sources.read('sinthetic:motion_sound')
    with pytest.raises(UserError, match='neither a manifest'):
        sources.read(str(tmp_path / 'nowhere.csv'))
    with pytest.raises(UserError, match='holds no clips'):
        sources.read(str(tmp_path))


def test_a_synthetic_source(tmp_path):
    clips = sources.read('synthetic:motion_sound', generated=tmp_path, seed=1, sizes={'train': 2}, progress=False)
    assert [clip.path.parent for clip in clips] == [tmp_path / 'clips'] * 2
    assert list(clips[0].labels) == ['label', 'motion', 'axis', 'tone', 'sprite']
    with pytest.raises(UserError, match='needs a folder'):
        sources.read('synthetic:motion_sound')
