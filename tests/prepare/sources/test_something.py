import json

import cv2
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.media.probe import probe
from vmmjax.media.video import read_frames
from vmmjax.prepare import sources

ENTRY = {'id': '78687', 'label': 'holding potato next to vicks vaporub bottle',
         'template': 'Holding [something] next to [something]', 'placeholders': ['potato', 'vicks vaporub bottle']}


def test_version_2(put, tmp_path):
    train = put('something-something-v2-train.json', json.dumps([ENTRY]))
    validation = put('labels/validation.json', json.dumps([ENTRY | {'id': '42326'}]))
    test = put('something-something-v2-test.json', json.dumps([{'id': '1420'}]))
    for number in ('78687', '42326', '1420'):
        put(f'20bn-something-something-v2/{number}.webm')
    clips = sources.read(f'something:{train},{validation},{test}', media=tmp_path / '20bn-something-something-v2')
    assert [(clip.name, clip.id, clip.split) for clip in clips] == [
        ('78687.webm', '78687', 'train'), ('42326.webm', '42326', 'validation'), ('1420.webm', '1420', 'test')]
    assert clips[0].labels == {'label': 'Holding something next to something', 'text': ENTRY['label']}
    assert clips[2].labels == {'label': '', 'text': ''}


@pytest.fixture
def version_1(put, tmp_path):
    """The labels, and two clips of six pictures, published as folders of JPEG files."""
    for number in ('100218', '24413'):
        folder = tmp_path / '20bn-something-something-v1' / number
        folder.mkdir(parents=True)
        for index in range(1, 7):
            cv2.imwrite(str(folder / f'{index:05d}.jpg'), np.full((32, 48, 3), index * 30, np.uint8))
    return put('something-something-v1-train.csv', '100218;Something falling like a feather or paper',
               '24413;Unfolding something', '7;Unfolding something')


def test_version_1_becomes_files_with_the_same_pictures(version_1, tmp_path):
    media, files = tmp_path / '20bn-something-something-v1', tmp_path / 'files'
    clips = sources.read(f'something:{version_1}', media=media, generated=files, progress=False)
    assert [clip.labels['label'] for clip in clips] == [
        'Something falling like a feather or paper', 'Unfolding something', 'Unfolding something']
    assert [clip.name for clip in clips] == ['100218.mov', '24413.mov', '7']
    assert not clips[2].path.exists()
    found = probe(clips[0].path)
    assert (found.fps, found.duration, found.width, found.height) == (12, 0.5, 48, 32)
    pictures = read_frames(clips[0].path, start=0, end=0.5, fps=12, short_side=32)
    np.testing.assert_allclose(pictures.mean((1, 2, 3)), np.arange(1, 7) * 30, atol=1)


def test_version_1_goes_on_after_a_kill_and_refuses_another_rate(version_1, tmp_path):
    media, files = tmp_path / '20bn-something-something-v1', tmp_path / 'files'
    first = sources.read(f'something:{version_1}', media=media, generated=files, progress=False)
    kept, lost = first[0].path.stat().st_mtime_ns, first[1].path.read_bytes()
    first[1].path.unlink()
    assert sources.read(f'something:{version_1}', media=media, generated=files, progress=False) == first
    assert first[0].path.stat().st_mtime_ns == kept
    assert first[1].path.read_bytes() == lost
    with pytest.raises(UserError, match='other settings'):
        sources.read(f'something:{version_1}', media=media, generated=files, fps=24, progress=False)


@pytest.mark.parametrize(('name', 'lines', 'message'), [
    ('labels.json', ['{}'], 'tells no split'),
    ('train.json', ['[{"name": "a"}]'], 'no annotation of Something-Something'),
    ('train.json', ['{"id'], 'no annotation of Something-Something'),
    ('train.csv', ['100218,Something'], "the line '100218,Something' is not"),
    ('test.csv', ['100218;a;b'], "the line '100218;a;b' is not"),
])
def test_other_files(put, name, lines, message):
    with pytest.raises(UserError, match=message):
        sources.read(f'something:{put(name, *lines)}')
