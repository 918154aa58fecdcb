import pytest

from vmmjax.errors import UserError
from vmmjax.prepare import sources


def test_ucf101(put, tmp_path):
    lists = tmp_path / 'ucfTrainTestlist'
    put('ucfTrainTestlist/classInd.txt', '1 ApplyEyeMakeup', '2 ApplyLipstick')
    put('ucfTrainTestlist/trainlist01.txt', 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 1',
        'ApplyLipstick/v_ApplyLipstick_g08_c02.avi 2\r')
    put('ucfTrainTestlist/testlist01.txt', 'ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi')
    put('UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi')
    put('UCF-101/ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi')
    put('UCF-101/v_ApplyLipstick_g08_c02.mp4')
    clips = sources.read(f'ucf101:{lists}/trainlist01.txt,{lists}/testlist01.txt', media=tmp_path / 'UCF-101')
    assert [(clip.name, clip.split) for clip in clips] == [
        ('ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi', 'train'), ('v_ApplyLipstick_g08_c02.mp4', 'train'),
        ('ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi', 'test')]
    assert [dict(clip.labels) for clip in clips] == [
        {'label': 'ApplyEyeMakeup', 'group': 'ApplyEyeMakeup_g08'},
        {'label': 'ApplyLipstick', 'group': 'ApplyLipstick_g08'},
        {'label': 'ApplyEyeMakeup', 'group': 'ApplyEyeMakeup_g01'}]


@pytest.mark.parametrize(('name', 'line', 'message'), [
    ('split01.txt', 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi', 'neither a trainlist nor a testlist'),
    ('trainlist01.txt', 'v_ApplyEyeMakeup_g08_c01.avi 1', 'no list of UCF101'),
    ('trainlist01.txt', 'ApplyEyeMakeup/v_ApplyEyeMakeup.avi 1', 'no list of UCF101'),
    ('trainlist01.txt', 'ApplyEyeMakup/v_ApplyEyeMakup_g08_c01.avi 1', "did you mean 'ApplyEyeMakeup'"),
    ('trainlist01.txt', 'ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi 2', 'not of one data set'),
])
def test_other_files_than_ucf101s(put, name, line, message):
    put('classInd.txt', '1 ApplyEyeMakeup', '2 ApplyLipstick')
    with pytest.raises(UserError, match=message):
        sources.read(f'ucf101:{put(name, line)}')


def test_hmdb51(put, tmp_path):
    put('splits/brush_hair_test_split1.txt', 'April_09_brush_hair_u_nm_np1_ba_goo_0.avi 1 ',
        'Blonde_being_brushed_brush_hair_f_nm_np2_ri_med_0.avi 2 ', 'Haarek_mmen_brush_hair_h_cm_np1_fr_goo_0.avi 0 ')
    put('splits/cartwheel_test_split1.txt', '(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi 1 ')
    put('splits/cartwheel_test_split2.txt', '(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi 2 ')
    put('hmdb51/brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi')
    put('hmdb51/cartwheel/(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi')
    clips = sources.read(f'hmdb51:{tmp_path}/splits/*_test_split1.txt', media=tmp_path / 'hmdb51')
    assert [(clip.name, clip.split, clip.labels['label']) for clip in clips] == [
        ('brush_hair/April_09_brush_hair_u_nm_np1_ba_goo_0.avi', 'train', 'brush_hair'),
        ('brush_hair/Blonde_being_brushed_brush_hair_f_nm_np2_ri_med_0', 'test', 'brush_hair'),
        ('cartwheel/(Rad)Schlag_die_Bank!_cartwheel_f_cm_np1_le_med_0.avi', 'train', 'cartwheel')]
    with pytest.raises(UserError, match=r'splits 1, 2 of HMDB51'):
        sources.read(f'hmdb51:{tmp_path}/splits/*.txt', media=tmp_path / 'hmdb51')


def test_other_files_than_hmdb51s(put):
    with pytest.raises(UserError, match='its name is not of the form'):
        sources.read(f'hmdb51:{put("brush_hair.txt", "a.avi 1")}')
    with pytest.raises(UserError, match=r"the line 'a\.avi 3' is not"):
        sources.read(f'hmdb51:{put("brush_hair_test_split1.txt", "a.avi 3")}')
