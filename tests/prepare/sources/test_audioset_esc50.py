import pytest

from vmmjax.errors import UserError
from vmmjax.prepare import sources

HEAD = ('# Segments csv created Sun Mar  5 10:54:31 2017',
        '# num_ytids=22160, num_segs=22160, num_unique_labels=527, num_positive_labels=52882',
        '# YTID, start_seconds, end_seconds, positive_labels')


@pytest.fixture
def names(put):
    """AudioSet's list of labels."""
    return put('class_labels_indices.csv', 'index,mid,display_name', '0,/m/09x0r,"Speech"',
               '1,/m/05zppz,"Male speech, man speaking"', '526,/t/dd00088,Gush')


@pytest.mark.usefixtures('names')
def test_audioset(put, tmp_path):
    balanced = put('balanced_train_segments.csv', *HEAD, '--PJHxphWEs, 30.000, 40.000, "/m/09x0r,/t/dd00088"',
                   '-1bHTvPUf0c, 0.000, 10.000, "/m/05zppz"')
    evaluation = put('eval_segments.csv', *HEAD, '--4gqARaEJE, 0.000, 10.000, "/m/05zppz,/m/09x0r"',
                     'removed0000, 10.000, 20.000, "/m/09x0r"')
    put('wav/--PJHxphWEs_30.000.wav')
    put('wav/-1bHTvPUf0c.m4a')
    put('wav/Y--4gqARaEJE.wav')
    clips = sources.read(f'audioset:{balanced},{evaluation}', media=tmp_path / 'wav')
    assert [clip.labels['label'] for clip in clips] == [
        'Speech;Gush', 'Male speech, man speaking', 'Male speech, man speaking;Speech', 'Speech']
    assert [clip.split for clip in clips] == ['train', 'train', 'test', 'test']
    assert [clip.path.name for clip in clips] == [
        '--PJHxphWEs_30.000.wav', '-1bHTvPUf0c.m4a', 'Y--4gqARaEJE.wav', 'removed0000_10.000_20.000']
    # Only the whole video is still to be cut.
    assert [(clip.start, clip.end) for clip in clips] == [(None, None), (0, 10), (None, None), (None, None)]
    assert clips[0].id == '--PJHxphWEs_30.000_40.000'
    assert not clips[3].path.exists()


@pytest.mark.usefixtures('names')
@pytest.mark.parametrize('name', ['abc_30.000.flac', 'abc_30.wav', 'abc_000030.mp4', 'abc_30_40.wav',
                                  'abc_30.000_40.000.wav', 'abc_30000_40000.flac', 'abc_000030_000040.mp4',
                                  'Yabc_30.000_40.000.wav'])
def test_audioset_as_downloaders_name_it(put, name):
    file = put('balanced_train_segments.csv', *HEAD, 'abc, 30.000, 40.000, "/m/09x0r"')
    path = put(f'some/where/{name}')
    clip, = sources.read(f'audioset:{file}')
    assert (clip.path, clip.start) == (path, None)


def test_other_files_than_audiosets(put, names, tmp_path):
    for line, message in (('abc, 0.000', 'the line .abc, 0.000. is not'), ('abc, x, 1, "/m/09x0r"', 'is not an id'),
                          ('abc, 0.000, 10.000, "/m/unknown"', "'/m/unknown', which class_labels_indices.csv")):
        with pytest.raises(UserError, match=message):
            sources.read(f'audioset:{put("eval_segments.csv", *HEAD, line)}')
    with pytest.raises(UserError, match='tells no split'):
        sources.read(f'audioset:{put("segments.csv", *HEAD)}')
    names.write_text('code,name\n1,2\n')
    with pytest.raises(UserError, match='no columns mid and display_name'):
        sources.read(f'audioset:{tmp_path}/eval_segments.csv')
    names.unlink()
    with pytest.raises(UserError, match='beside the segments'):
        sources.read(f'audioset:{tmp_path}/eval_segments.csv')


def test_esc50(put, tmp_path):
    table = put('meta/esc50.csv', 'filename,fold,target,category,esc10,src_file,take',
                '1-100032-A-0.wav,1,0,dog,True,100032,A', '5-9032-A-0.wav,5,0,dog,True,9032,A',
                '1-100210-B-36.wav,1,36,vacuum_cleaner,False,100210,B')
    for name in ('1-100032-A-0.wav', '5-9032-A-0.wav', '1-100210-B-36.wav'):
        put(f'audio/{name}')
    clips = sources.read(f'esc50:{table}')
    assert [clip.path for clip in clips] == [tmp_path / 'audio' / name for name in (
        '1-100032-A-0.wav', '5-9032-A-0.wav', '1-100210-B-36.wav')]
    assert [clip.split for clip in clips] == ['train', 'test', 'train']
    assert clips[2].labels == {'label': 'vacuum_cleaner', 'fold': '1', 'esc10': 'False', 'group': '100210'}
    with pytest.raises(UserError, match="has no column 'filename'"):
        sources.read(f'esc50:{put("other.csv", "name,fold", "a,1")}')
