import csv
import json
import os
import shutil
import tempfile

import pytest

from tests.cli.conftest import refused, vmmjax
from tests.media.files import counting_frames, write_media
from tests.serving import tiny


@pytest.fixture(scope='module')
def run(tmp_path_factory, store):
    return tiny.save_run(tmp_path_factory.mktemp('predict') / 'run', store, frames=4, size=24)


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('videos')
    for name, count in (('a.mp4', 45), ('b c.mp4', 20)):
        write_media(folder / name, counting_frames(count))
    (folder / 'broken.mp4').write_bytes((folder / 'a.mp4').read_bytes()[:1500])
    return folder


def test_a_person_reads_a_table_with_bars(run, videos):
    found = vmmjax('predict', videos / 'a.mp4', videos / 'b c.mp4', f'--weights={run}')
    assert (found.returncode, found.stderr) == (0, '')
    first, second = found.stdout.split('\n\n')
    assert first.splitlines()[0] == f'{videos / "a.mp4"} (1.8 s)'
    assert second.splitlines()[0] == f'{videos / "b c.mp4"} (0.8 s)'
    rows = [line.split() for line in first.splitlines()[1:]]
    assert sorted(name for name, *_ in rows) == sorted(tiny.CLASSES)
    chances = [float(row[1]) for row in rows]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1, abs=2e-4)
    for chance, row in zip(chances, rows, strict=True):
        assert len(''.join(row[2:])) == pytest.approx(27 * chance, abs=1)
    assert max(map(len, first.splitlines()[1:])) < 80


def test_a_machine_reads_one_object_a_line(run, videos):
    found = vmmjax('predict', videos / 'a.mp4', videos / 'broken.mp4', videos / 'b c.mp4', f'--weights={run}', '--json',
                   '--top=2')
    assert found.returncode == 2
    assert 'Traceback' not in found.stderr
    assert found.stderr.splitlines()[-1] == 'vmmjax: 1 of 3 videos could not be read.'
    first, broken, last = map(json.loads, found.stdout.splitlines())
    assert [part['video'] for part in (first, broken, last)] == [
        str(videos / name) for name in ('a.mp4', 'broken.mp4', 'b c.mp4')]
    assert first.keys() == last.keys() == {'video', 'start', 'end', 'seconds', 'present', 'predicted'}
    assert (first['start'], first['end']) == (0, pytest.approx(1.8))
    assert (first['seconds'], first['present']) == (pytest.approx(1.8), {'rgb': True})
    (predicted,) = first['predicted']
    assert predicted['target'] == 'label'
    assert len(predicted['named']) == 2
    assert {name for name, _ in predicted['named']} < set(tiny.CLASSES)
    assert broken['error'] in found.stderr
    assert str(videos / 'broken.mp4') in broken['error']


@pytest.mark.slow
def test_probabilities_may_be_averaged_instead(store, videos, tmp_path):
    run = tiny.save_run(tmp_path / 'run', store, views=3, frames=4, size=24)
    found = [json.loads(vmmjax('predict', videos / 'a.mp4', f'--weights={run}', '--json', *flags).stdout)
             for flags in ([], ['--average=logits'], ['--average=probabilities'])]
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.slow
def test_classes_may_be_named_by_a_file(run, videos, tmp_path):
    names = tmp_path / 'names.txt'
    names.write_text('eins\nzwei\ndrei\n')
    found = vmmjax('predict', videos / 'a.mp4', f'--weights={run}', f'--classes={names}')
    assert all(name in found.stdout for name in ('eins', 'zwei', 'drei'))
    names.write_text('eins\nzwei\n')
    line = refused('predict', videos / 'a.mp4', f'--weights={run}', f'--classes={names}')
    assert 'names 2 classes' in line
    assert 'tells 3 apart' in line


@pytest.mark.parametrize(('arguments', 'message'), [
    (['{videos}/nothing.mp4', '--weights={run}'], 'there is no such file'),
    (['{videos}/broken.mp4', '--weights={run}'], 'broken.mp4: '),
    (['{videos}/a.mp4', '--weights={run}', '--classes=nowhere.txt'], 'nowhere.txt cannot be read'),
    (['{videos}/a.mp4', '--weights={run}', '--average=sum'], 'average'),
    (['{videos}/a.mp4', '--weights={run}', '--best'], 'keeps no best checkpoint; train with config.best.metric'),
    (['{videos}/a.mp4', '--weights=nowhere.pth'], 'nowhere.pth'),
    (['{videos}/a.mp4', '--weights=i3d_rgb_kinetics'], "did you mean 'i3d_rgb_kinetics400'"),
    (['--weights={run}'], 'needs FILE'),
])
def test_what_a_user_gets_wrong_is_one_sentence(run, videos, arguments, message):
    assert message in refused('predict', *(part.format(run=run, videos=videos) for part in arguments))


@pytest.mark.slow
def test_a_run_of_several_streams_says_what_a_file_lacks(trained, videos, tmp_path):
    moved = shutil.copytree(trained, tmp_path / 'moved')
    found = vmmjax('predict', videos / 'a.mp4', f'--weights={moved}')
    assert found.returncode == 0, found.stderr
    first, *classes = found.stdout.splitlines()
    assert first == f'{videos / "a.mp4"} (1.8 s, without audio)'
    assert len(classes) == 5


@pytest.mark.slow
def test_a_file_may_have_any_name(run, videos):
    strange = os.fsdecode(os.fsencode(videos) + b'/\xff\xe9.mp4')
    shutil.copy(videos / 'a.mp4', strange)
    found = vmmjax('predict', strange, f'--weights={run}')
    assert found.returncode == 0, found.stderr
    assert '.mp4 (1.8 s)' in found.stdout



@pytest.mark.slow
def test_a_timeline_has_a_line_for_each_window(trained, videos):
    found = vmmjax('predict', videos / 'a.mp4', videos / 'broken.mp4', f'--weights={trained}', '--timeline', '--json',
                   '--stride=0.5')
    assert found.stderr.splitlines()[-1] == 'vmmjax: 1 of 2 videos could not be read.'
    *lines, broken = map(json.loads, found.stdout.splitlines())
    assert [line['start'] for line in lines] == [0]
    assert lines[0]['present'] == {'rgb': True, 'audio': False}
    assert broken.keys() == {'video', 'error'}
    assert 'has the same; leave --window out' in refused('predict', videos / 'a.mp4', f'--weights={trained}',
                                                         '--timeline', '--window=1')


@pytest.mark.slow
def test_folders_and_lists_as_a_table(run, videos, tmp_path):
    for name in ('a.mp4', 'broken.mp4'):
        shutil.copy(videos / name, tmp_path)
    with tempfile.TemporaryFile('w+') as names:
        names.write(f'{tmp_path / "a.mp4"}\n\n')
        names.seek(0)
        found = vmmjax('predict', '-', tmp_path, f'--weights={run}', '--csv', stdin=names)
    assert found.returncode == 2
    rows = list(csv.DictReader(found.stdout.splitlines()))
    assert [row['clip'] for row in rows] == [str(tmp_path / name) for name in ('a.mp4', 'a.mp4', 'broken.mp4')]
    assert rows[0] == rows[1]
    assert rows[0]['predicted'] in tiny.CLASSES
    assert [bool(row['error']) for row in rows] == [False, False, True]
