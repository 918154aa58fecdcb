import pytest

from vmmjax.errors import UserError
from vmmjax.prepare import sources


@pytest.fixture
def manifest(tmp_path):
    """Writes a manifest with the given lines beside files a.mp4, b.mp4 and sub/c.mp4."""
    (tmp_path / 'sub').mkdir()
    for name in ('a.mp4', 'b.mp4', 'sub/c.mp4'):
        (tmp_path / name).write_bytes(b'x')

    def write(*lines):
        path = tmp_path / 'manifest.csv'
        path.write_text('\n'.join(lines) + '\n', encoding='utf-8')
        return str(path)

    return write


def test_manifest(manifest, tmp_path):
    clips = sources.read(manifest('split,path,start,end,word,id,fold', 'train,a.mp4,,,"hello, you",7,0',
                                  'test,sub/c.mp4,0.5,2,grün,8,1'))
    assert [clip.name for clip in clips] == ['a.mp4', 'sub/c.mp4']
    assert clips[1].path == tmp_path / 'sub/c.mp4'
    assert (clips[0].start, clips[0].end, clips[1].start, clips[1].end) == (None, None, 0.5, 2.0)
    assert [clip.id for clip in clips] == ['7', '8']
    assert dict(clips[0].labels) == {'word': 'hello, you', 'fold': '0'}
    assert dict(clips[1].labels) == {'word': 'grün', 'fold': '1'}
    assert list(clips[0].labels) == ['word', 'fold']


def test_manifest_of_a_spreadsheet(manifest, tmp_path):
    path = manifest('')
    (tmp_path / 'manifest.csv').write_bytes('path,split\r\na.mp4,train\r\n\r\n'.encode('utf-8-sig'))
    assert [clip.id for clip in sources.read(path)] == ['a.mp4']


def test_relative_source(manifest, tmp_path, monkeypatch):
    manifest('path,split', 'a.mp4,train')
    monkeypatch.chdir(tmp_path.parent)
    assert sources.read(f'{tmp_path.name}/manifest.csv')[0].path == tmp_path / 'a.mp4'


@pytest.mark.parametrize(('lines', 'message'), [
    (['file,split', 'a.mp4,train'], "no column 'path' among file, split"),
    (['path,label', 'a.mp4,train'], "no column 'split'"),
    ([''], "no column 'path' among none"),
    (['path,split'], 'names no clip'),
    (['path,split', 'a.mp4,train', 'missing.mp4,train'], r'line 3, names missing\.mp4, but there is no file'),
    (['path,split', 'sub,train'], 'line 2, names sub, but there is no file'),
    (['path,split', ',train'], 'line 2, leaves path empty'),
    (['path,split', 'a.mp4,'], 'line 2, leaves split empty'),
    (['path,split', 'a.mp4,train,more'], 'line 2, has not one cell'),
    (['path,split', 'a.mp4'], 'line 2, has not one cell'),
    (['path,split,start', 'a.mp4,train,soon'], "gives 'soon' as start"),
    (['path,split,end', 'a.mp4,train,-1'], "gives '-1' as end"),
    (['path,split,end', 'a.mp4,train,nan'], "gives 'nan' as end"),
    (['path,split,start,end', 'a.mp4,train,2,1.5'], r'ends at 1\.5 s, not after its start at 2\.0 s'),
    (['path,split,fps', 'a.mp4,train,25'], "a column 'fps', which the catalog measures"),
    (['path,split,x,x', 'a.mp4,train,1,2'], "the column 'x' twice"),
    (['path,split,id', 'a.mp4,train,1', 'b.mp4,train,1'], "the id '1' to its clips 1 and 2"),
    (['path,split', '"a.mp4,train'], 'no CSV file'),
])
def test_bad_manifests(manifest, lines, message):
    with pytest.raises(UserError, match=message) as caught:
        sources.read(manifest(*lines))
    assert 'manifest.csv' in str(caught.value)


def test_a_manifest_that_is_no_text(manifest, tmp_path):
    path = manifest('')
    (tmp_path / 'manifest.csv').write_bytes(bytes(range(256)))
    with pytest.raises(UserError, match='no CSV file in UTF-8'):
        sources.read(path)
