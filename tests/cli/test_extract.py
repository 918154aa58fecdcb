import json
import shutil
import signal
import time

import numpy as np
import pytest
from simplejpeg import decode_jpeg

from tests.cli.conftest import refused, started, vmmjax
from tests.media.files import counting_frames, write_media
from tests.serving import tiny
from vmmjax.media.video import read_frames
from vmmjax.prepare.encoding import encode
from vmmjax.store import feature_files


@pytest.fixture(scope='module')
def run(tmp_path_factory, store):
    return tiny.save_run(tmp_path_factory.mktemp('extract') / 'run', store, frames=4, size=24)


@pytest.fixture(scope='module')
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp('videos')
    for name, count in (('a.mp4', 45), ('b.mp4', 20)):
        write_media(folder / name, counting_frames(count))
    (folder / 'broken.mp4').write_bytes((folder / 'a.mp4').read_bytes()[:1500])
    return folder


@pytest.mark.parametrize('format', ['npz', pytest.param('array_record', marks=pytest.mark.slow)])
def test_videos_become_files_of_windows_and_a_second_call_does_nothing_again(run, videos, tmp_path, format):
    names = [videos / name for name in ('a.mp4', 'broken.mp4', 'b.mp4')]
    arguments = ('extract', *names, f'--weights={run}', '--stride=0.4', f'--output={tmp_path / "f"}',
                 '--endpoints=features,rgb/tokens', '--batch_size=3', f'--format={format}')
    found = vmmjax(*arguments)
    assert found.returncode == 2
    assert 'vmmjax: 1 of 3 files could not be read.' in found.stderr
    assert sorted(path.name for path in (tmp_path / 'f').iterdir()) == [
        f'a.mp4.{format}', f'b.mp4.{format}', 'features.json']
    a = feature_files.read(tmp_path / 'f' / f'a.mp4.{format}')
    np.testing.assert_allclose(a['t_start'], [0, .4, .8, 1.2], atol=1e-6)
    np.testing.assert_allclose(a['t_end'], [.8, 1.2, 1.6, 1.8], atol=1e-6)
    assert a['rgb/tokens'].shape == (4, 1, 3)
    settings = json.loads((tmp_path / 'f' / 'features.json').read_text())
    assert (settings['window'], settings['stride'], settings['tail'], settings['fps']) == (.8, .4, 'pad', {'rgb': 5.0})

    model, variables = tiny.network()
    # As evaluation reads a store: frames of the column at the centres of four parts of the window, by way of JPEG.
    column = read_frames(videos / 'a.mp4', start=0.0, end=1.8, fps=6.25, short_side=32)
    chosen = np.floor((.8 + np.array([.1, .3, .5, .7])) * 6.25).astype(int)
    window = np.stack([decode_jpeg(encoded, 'RGB')[4:28, 4:28] for encoded in encode('picture', column[chosen])])[None]
    alone = model.apply(variables, model.preprocess({'rgb': window}), train=False)
    np.testing.assert_allclose(a['features'][2], alone.features[0], rtol=1e-4)

    before = {path: path.stat().st_mtime_ns for path in (tmp_path / 'f').iterdir()}
    again = vmmjax(*arguments)
    assert again.stdout.count('extracted before') == 2
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / 'f').iterdir()} == before
    assert 'were made with tail=pad, not drop' in refused(*arguments, '--tail=drop')


@pytest.mark.slow
def test_files_of_one_name_are_told_apart(run, videos, tmp_path):
    for folder, name in (('one', 'a.mp4'), ('two', 'b.mp4'), ('three', 'a.mp4')):
        (tmp_path / folder).mkdir()
        shutil.copy(videos / name, tmp_path / folder / '1.mp4')
    out = tmp_path / 'f'
    found = vmmjax('extract', *(tmp_path / folder / '1.mp4' for folder in ('one', 'two', 'three')), f'--weights={run}',
                   f'--output={out}')
    assert found.returncode == 0, found.stderr
    assert found.stdout.count('extracted before') == 1  # The third is the first.
    other, first = sorted(out.glob('1.mp4*.npz'))
    assert first.name == '1.mp4.npz'
    assert len(feature_files.read(first)['t_start']) > len(feature_files.read(other)['t_start'])


@pytest.mark.slow
def test_a_store_becomes_features_with_its_labels_which_can_be_probed(trained, store, tmp_path):
    folder = tmp_path / 'f'
    found = vmmjax('extract', store, f'--weights={trained}', f'--output={folder}', '--endpoints=features,logits')
    assert found.returncode == 0, found.stderr
    assert sorted(path.name for path in folder.iterdir()) == [
        'features.json', *(f'{split}-00000-of-00001.npz' for split in ('test', 'train', 'validation'))]
    read = feature_files.read(folder)
    assert read['row'].tolist() == list(range(73))
    assert read['catalog/motion'].shape == (73,)
    # What a run makes of the only window of a clip is what its evaluation says.
    assert vmmjax('evaluate', f'--workdir={trained}').returncode == 0
    with np.load(trained / 'eval' / 'test.npz') as evaluated:
        here = read['split'] == 'test'
        np.testing.assert_array_equal(read['row'][here], evaluated['id'])
        scores = next(evaluated[key] for key in evaluated.files if key.startswith('scores/'))
        np.testing.assert_allclose(read['logits'][here], scores, rtol=1e-4, atol=1e-5)

    probed = vmmjax('probe', folder, '--target=label,tone')
    assert probed.returncode == 0, probed.stderr
    header, *rows = probed.stdout.splitlines()
    assert header.split() == ['target', 'clips', 'classes', 'majority', 'accuracy', 'interval', 'probe']
    assert [row.split()[0] for row in rows] == ['label', 'label', 'tone', 'tone']
    written = json.loads((folder / 'probe_tone.json').read_text())
    assert [each['kind'] for each in written['probes']] == ['linear', 'svm']
    assert f'{100 * written["probes"][0]["accuracy"]:.1f}' == rows[2].split()[4]


def test_a_store_tells_what_its_columns_give_away(store, tmp_path):
    found = vmmjax('probe', store, '--target=label,motion', '--columns=tone,axis', f'--output={tmp_path}')
    assert found.returncode == 0, found.stderr
    assert 'looks most at' in found.stdout
    # The label is made of the motion and the tone; of the motion they tell the axis.
    assert json.loads((tmp_path / 'leak_label.json').read_text())['leaks']
    leak = json.loads((tmp_path / 'leak_motion.json').read_text())
    assert leak['leaks']
    assert next(iter(leak['columns'])) == 'axis'


def test_endpoints_are_listed(run, videos):
    found = vmmjax('extract', videos / 'a.mp4', f'--weights={run}', '--list_endpoints')
    assert found.returncode == 0, found.stderr
    assert [line.split() for line in found.stdout.splitlines()] == [
        ['features', '3'], ['logits', '3'], ['rgb/tokens', '1', 'x', '3']]


@pytest.mark.slow
def test_a_killed_run_goes_on(run, videos, tmp_path):
    names = []
    for i in range(20):
        shutil.copy(videos / 'a.mp4', tmp_path / f'{i:02d}.mp4')
        names.append(tmp_path / f'{i:02d}.mp4')
    arguments = ('extract', *names, f'--weights={run}', f'--output={tmp_path / "f"}')
    working = started(*arguments)
    while working.poll() is None and not (tmp_path / 'f' / '03.mp4.npz').exists():
        time.sleep(0.02)
    working.send_signal(signal.SIGKILL)
    working.wait()
    done = len(list((tmp_path / 'f').glob('[0-9]*.npz')))
    assert 4 <= done < 20
    found = vmmjax(*arguments)
    assert found.stdout.count('extracted before') == done
    assert len(list((tmp_path / 'f').glob('[0-9]*.npz'))) == 20


@pytest.mark.parametrize(('arguments', 'message'), [
    (['{a}'], '--output is missing'),
    (['{a}', '--output={out}', '--endpoints=feature'], "no endpoint 'feature': did you mean 'features'"),
    (['{a}', '--output={out}', '--window=1'], '--window is for published networks'),
    (['nowhere.mp4', '--output={out}'], 'no such file'),
    (['{out}', '--output={out}'], 'is not a finished store'),
])
def test_what_cannot_be_done_is_one_sentence(run, videos, tmp_path, arguments, message):
    (tmp_path / 'out').mkdir()
    arguments = [argument.format(a=videos / 'a.mp4', out=tmp_path / 'out') for argument in arguments]
    assert message in refused('extract', *arguments, f'--weights={run}')
    assert not [path for path in (tmp_path / 'out').iterdir() if path.name != 'features.json']


@pytest.mark.parametrize(('arguments', 'message'), [
    (['{store}', '--target=colour'], "no column 'colour'"),
    (['{store}'], 'target'),
    (['nowhere', '--target=label'], 'no file of features'),
    (['{store}', 'x', '--target=label'], 'one folder, not at 2'),
])
def test_what_cannot_be_probed_is_one_sentence(store, arguments, message):
    assert message in refused('probe', *[argument.format(store=store) for argument in arguments])
