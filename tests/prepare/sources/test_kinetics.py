import csv

import numpy as np
import pytest

from tests.media.files import write_media
from vmmjax.errors import UserError
from vmmjax.prepare import catalog_builder, sources
from vmmjax.store import catalog

OFFICIAL = 'label,youtube_id,time_start,time_end,split'


def test_the_official_layout(put, tmp_path):
    train = put('train.csv', OFFICIAL, 'testifying,---QUuC4vJs,84,94,train', '"playing ""it""",--abc,0,10,train')
    validate = put('validate.csv', OFFICIAL, 'washing feet,--GkrdYZ9Tc,5,15,validate')
    put('k700/train/testifying/---QUuC4vJs_000084_000094.mp4')
    put('k700/train/other/--abc_000000_000010.mkv')
    put('k700/val/washing feet/--GkrdYZ9Tc_000005_000015.mp4')
    clips = sources.read(f'kinetics:{train},{validate}', media=tmp_path / 'k700')
    assert [clip.split for clip in clips] == ['train', 'train', 'validation']
    assert [clip.labels['label'] for clip in clips] == ['testifying', 'playing "it"', 'washing feet']
    assert clips[0].path == tmp_path / 'k700/train/testifying/---QUuC4vJs_000084_000094.mp4'
    assert clips[0].name == 'train/testifying/---QUuC4vJs_000084_000094.mp4'
    assert (clips[0].id, clips[0].labels['video']) == ('---QUuC4vJs_000084_000094', '---QUuC4vJs')
    assert [(clip.start, clip.end) for clip in clips] == [(None, None)] * 3


def test_the_mirrors_layout_and_a_test_file_without_labels(put, tmp_path):
    put('val.csv', f'{OFFICIAL},is_cc', 'abseiling,-3B32lodo2M,59,69,val,0')
    put('test.csv', 'youtube_id,time_start,time_end,split,is_cc', '--6bJUbfpnQ,17,27,test,0')
    put('-3B32lodo2M_000059_000069.mp4')
    put('--6bJUbfpnQ_000017_000027.mp4')
    clips = sources.read(f'kinetics:{tmp_path}/val.csv,{tmp_path}/test.csv')
    assert [(clip.split, clip.labels['label']) for clip in clips] == [('validation', 'abseiling'), ('test', '')]


def test_a_whole_video_is_cut_at_the_times(put, tmp_path):
    file = put('val.csv', OFFICIAL, 'abseiling,-3B32lodo2M,59,69,val', 'abseiling,-3B32lodo2M,80,90,val')
    put('-3B32lodo2M.webm')
    clips = sources.read(f'kinetics:{file}')
    assert [(clip.start, clip.end) for clip in clips] == [(59, 69), (80, 90)]
    assert len({clip.id for clip in clips}) == 2
    assert {clip.path.name for clip in clips} == {'-3B32lodo2M.webm'}


def test_removed_videos_are_rejected_by_the_catalog(put, tmp_path):
    file = put('train.csv', OFFICIAL, 'a,gone,0,10,train', 'a,there,0,10,train')
    write_media(tmp_path / 'there_000000_000010.mp4', np.zeros((5, 32, 32, 3), np.uint8))
    catalog_builder.build(sources.read(f'kinetics:{file}'), tmp_path / 'store', workers=1, progress=False)
    assert catalog.read(tmp_path / 'store').columns['path'] == ['there_000000_000010.mp4']
    with open(tmp_path / 'store' / 'rejected.csv', newline='') as lines:
        assert list(csv.reader(lines))[1:] == [['gone_000000_000010', 'there is no such file']]


@pytest.mark.parametrize(('lines', 'message'), [
    (['label,id', 'a,b'], "no column 'youtube_id'"),
    ([''], "no column 'youtube_id'"),
    ([OFFICIAL, 'a,b,soon,10,train'], 'line 2, has no seconds'),
    ([OFFICIAL, 'a,b,0'], 'line 2, has no seconds'),
    ([OFFICIAL, 'a,b,0,10,valdate'], "did you mean 'validate'"),
    ([OFFICIAL], 'names no clip'),
    ([OFFICIAL, 'a,b,0,10,train'], 'None of the 1 clips .* as --media'),
])
def test_other_files(put, lines, message):
    file = put('train.csv', *lines)
    with pytest.raises(UserError, match=message):
        sources.read(f'kinetics:{file}')
