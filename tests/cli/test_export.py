"""A run becomes one file that takes its place in every command, by itself in an empty folder."""

import json
import shutil

import numpy as np
import pytest

from tests.cli.conftest import refused, vmmjax
from tests.media.files import counting_frames, write_media
from vmmjax.store import feature_files


@pytest.mark.slow
def test_a_bundle_alone_does_what_its_run_does(trained, store, tmp_path):
    (tmp_path / 'alone').mkdir()
    run = shutil.copytree(trained, tmp_path / 'run')
    path = tmp_path / 'alone' / 'model.vmm'
    exported = vmmjax('export', run, f'--output={path}')
    assert (exported.returncode, exported.stderr) == (0, '')
    lines = exported.stdout.splitlines()
    assert [line.partition(';')[0] for line in lines] == [
        'cpu: run', 'cuda: lowered, not run', 'tpu: lowered, not run', f'Wrote {path}.']
    checked = vmmjax('check', path)
    assert (checked.returncode, checked.stderr) == (0, '')
    assert checked.stdout.startswith(f'{path}: 7 members are as they were written; the program for cpu gives')

    video = tmp_path / 'a.mp4'
    write_media(video, counting_frames(45))
    said = {}
    for where in (run, path):
        predicted = vmmjax('predict', video, f'--weights={where}', '--json')
        assert predicted.returncode == 0, predicted.stderr
        folder = tmp_path / f'features of {where.name}'
        extracted = vmmjax('extract', video, f'--weights={where}', f'--output={folder}', '--endpoints=features,logits')
        assert extracted.returncode == 0, extracted.stderr
        said[where] = json.loads(predicted.stdout), feature_files.read(folder / 'a.mp4.npz')
    (one, features), (other, same) = said.values()
    assert one == other
    for name in ('features', 'logits', 't_start'):
        np.testing.assert_array_equal(features[name], same[name])

    told = vmmjax('inspect', path).stdout
    assert f'{path}: a bundle of a run at step 30 of 30, written by vmmjax' in told
    assert 'tests.cli.toy:Average' in told
    assert 'lowered, not run' in told
    for where, results in ((run, run), (path, path.with_name('model.vmm.results'))):
        measured = vmmjax('evaluate', f'--workdir={where}', f'--store={store}')
        assert measured.returncode == 0, measured.stderr
        said[where] = json.loads((results / 'eval' / 'test.json').read_text())['metrics']
    assert said[run] == said[path]

    data = bytearray(path.read_bytes())
    data[-5000] ^= 1
    path.write_bytes(data)
    assert 'programs/tpu.jax_export is damaged' in refused('check', path)
    assert 'is there already' in refused('export', run, f'--output={path}')
    assert 'There is no file' in refused('predict', video, f'--weights={tmp_path / "nothing.vmm"}')


def test_what_export_asks_for(tmp_path):
    assert 'must end with .vmm' in refused('export', tmp_path, f'--output={tmp_path / "model.zip"}')
    assert f'There is no finished checkpoint in {tmp_path}' in refused('export', tmp_path, f'--output={tmp_path}/m.vmm')
    assert not list(tmp_path.iterdir())
