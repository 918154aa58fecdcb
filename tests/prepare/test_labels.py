import shutil
import unicodedata
import wave
from pathlib import Path

import pytest

from tests.media.files import counting_frames, write_media
from vmmjax.errors import UserError
from vmmjax.prepare import labels, sources
from vmmjax.prepare.build import Summary, prepare
from vmmjax.prepare.columns import Rgb
from vmmjax.prepare.sources import Clip
from vmmjax.store.store import Store

COMPOSED, DECOMPOSED = (unicodedata.normalize(form, 'caf\u00e9') for form in ('NFC', 'NFD'))


def clips(*splits: str) -> list[Clip]:
    return [Clip(Path('a.mp4'), 'a.mp4', split, 'a', None, None, {}) for split in splits]


@pytest.mark.parametrize(('given', 'here'), [
    (['Train', 'train ', 'TRAIN', 'VAL'], ['train', 'train', 'train', 'validation']),
    (['training', 'dev', 'eval'], ['train', 'validation', 'test']),
    (['train', 'val', 'dev', 'Test'], ['train', 'val', 'dev', 'test']),
    (['extra', 'Extra', DECOMPOSED], ['extra', 'Extra', COMPOSED])])
def test_names_of_splits_are_understood(given: list[str], here: list[str]) -> None:
    assert [clip.split for clip in labels.cleaned(clips(*given))] == here


def made(folder: Path, *rows: str) -> tuple[Summary, Store]:
    """A store of a manifest with such rows; the files a.mp4 and b.avi are there, and b.avi again as c.avi."""
    for suffix, codec in (('a.mp4', 'libx264'), ('b.avi', 'mpeg4')):
        write_media(folder / suffix, counting_frames(5, 16), codec=codec)
    shutil.copy(folder / 'b.avi', folder / 'c.avi')
    (folder / 'manifest.csv').write_text('\n'.join(['path,split,label,text', *rows]) + '\n', encoding='utf-8')
    summary = prepare(sources.read(str(folder / 'manifest.csv')), folder / 'store', [Rgb(fps=5, short_side=16)],
                      origin='labels', processes=1, progress=False)
    return summary, Store(folder / 'store')


def test_labels_are_stripped_and_composed(tmp_path: Path) -> None:
    summary, store = made(tmp_path, 'a.mp4,train,cat,x', 'a.mp4,train, cat,x', 'a.mp4,train,cat\u00a0,x',
                          f'a.mp4,train,{COMPOSED},x', f'b.avi,VAL,{DECOMPOSED},x', 'b.avi,val,,x')
    assert store.values('label').tolist() == ['cat'] * 3 + [COMPOSED] * 2 + ['']
    assert store.classes('label') == [COMPOSED, 'cat']
    assert store.splits == {'train': range(4), 'validation': range(4, 6)}
    assert summary.warnings == ()


def test_what_is_probably_a_mistake_is_said(tmp_path: Path) -> None:
    summary, store = made(tmp_path, 'a.mp4,train,Cat,x', 'a.mp4,train,cat,x', 'b.avi,train,a b,x', 'b.avi,train,ab,x',
                          'c.avi,test,dog,x', 'a.mp4,val,dog,y', 'a.mp4,dev,dog,z')
    assert [warning.partition(':')[0] for warning in summary.warnings] == [
        "The column label has 'Cat' and 'cat', which differ in case or blanks alone (and 1 more)",
        'The splits val and dev usually mean the same, and were kept apart',
        'The file a.mp4 of the split train is a.mp4 of the split val, too; there may be more such']
    assert store.classes('label') == ['Cat', 'a b', 'ab', 'cat', 'dog']  # Nothing is changed.


@pytest.mark.parametrize('other', [False, True])
def test_a_file_under_two_names_is_one_if_all_of_it_is_equal(tmp_path: Path, other: bool) -> None:
    sound = bytearray(2 * 70_000 + 100_000)  # Both ends are silent for longer than is read of each file at first.
    for name in ('a.wav', 'b.wav'):
        sound[100_000] = 7 * (other and name == 'b.wav')
        with wave.open(str(tmp_path / name), 'wb') as file:
            file.setparams((1, 2, 16000, 0, 'NONE', ''))
            file.writeframes(bytes(sound))
    (tmp_path / 'manifest.csv').write_text('path,split\na.wav,train\nb.wav,test\n')
    clips = sources.read(str(tmp_path / 'manifest.csv'))
    summary = prepare(clips, tmp_path / 'store', [], origin='labels', processes=1, progress=False)
    assert [warning.partition(';')[0] for warning in summary.warnings] == [
        'The file a.wav of the split train is b.wav of the split test, too'] * (not other)


def test_a_split_that_cannot_be_named_is_said_before_files_are_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="The split 'my split' cannot name a file"):
        made(tmp_path, 'a.mp4,train,cat,x', 'b.avi,my split,cat,x')
    assert not list((tmp_path / 'store').glob('*.csv'))
