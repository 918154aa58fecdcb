import shutil
from pathlib import Path

import pytest

from tests.prepare.test_build_workers import flip_a_bit
from vmmjax.errors import UserError
from vmmjax.prepare import verify


@pytest.fixture
def copy(store_path: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store_path, tmp_path / 'copy'))


def test_a_whole_store(store_path: Path) -> None:
    assert verify.check(store_path, 2, progress=False) == f'{store_path}: 18 shards of 6 columns are whole.'


def test_every_broken_shard_is_named_with_the_remedy(copy: Path) -> None:
    flip_a_bit(copy / 'rgb' / 'rgb-test.array_record-00000-of-00001')
    (copy / 'flow' / 'flow-train.array_record-00000-of-00001').unlink()
    with open(copy / 'audio' / 'audio-validation.array_record-00000-of-00001', 'ab') as file:
        file.write(b'more')
    with pytest.raises(UserError) as error:
        verify.check(copy, 1, progress=False)
    sentence = str(error.value)
    assert 'rgb/rgb-test.array_record-00000-of-00001 has another content' in sentence
    assert 'flow/flow-train.array_record-00000-of-00001 is missing' in sentence
    assert 'audio/audio-validation.array_record-00000-of-00001 has ' in sentence
    assert 'ramp' not in sentence
    assert '--columns=audio,flow,rgb --verify' in sentence


def test_no_store(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='no complete column'):
        verify.check(tmp_path, 1)
