import json

import pytest

from tests.cli.conftest import refused, vmmjax

CONFIG = """
from vmmjax import config as configs


def get_config():
    config = configs.defaults()
    config.steps, config.batch_size = 4, 8
    config.optimizer.lr.warmup_steps = 1
    config.data.window.seconds = 1.0
    config.data.streams = dict(rgb=dict(modality='rgb', frames=4, size=24), waveform=dict(modality='waveform'))
    config.model.preprocess = dict(rgb='signed', waveform='log_mel')
    config.model.encoders = dict(rgb=dict(name='tests.cli.toy:Average'), waveform=dict(name='tests.cli.toy:Average'))
    return configs.lock(config)
"""


@pytest.fixture(scope='module')
def heard(tmp_path_factory):
    folder = tmp_path_factory.mktemp('heard')
    (folder / 'config.py').write_text(CONFIG)
    for arguments in (
            ('prepare', '--source=synthetic:motion_sound', f'--store={folder / "store"}', '--columns=rgb,waveform',
             '--short_side=32', '--fps=6.25', '--sizes=train=16,validation=8,test=12'),
            ('train', f'--config={folder / "config.py"}', f'--workdir={folder / "run"}',
             f'--config.data.store={folder / "store"}')):
        found = vmmjax(*arguments)
        assert found.returncode == 0, found.stderr
    return folder / 'run'


@pytest.mark.slow
def test_a_run_is_measured_with_noise_in_its_sound_and_the_same_each_time(heard):
    found = vmmjax('evaluate', f'--workdir={heard}', '--snr=10,-30', '--noise=white')
    assert found.returncode == 0, found.stderr
    assert 'white noise in waveform: accuracy' in found.stdout
    first = json.loads((heard / 'eval' / 'test_noise.json').read_text())
    assert first['ratios'] == [None, 10, -30]
    rows = {row['subset']: row['values'] for row in first['rows']}
    plain = json.loads((heard / 'eval' / 'test.json').read_text())
    for subset, values in rows.items():
        assert values[0] == plain['subsets'][subset]['accuracy']  # Clean is what it is without --snr.
    assert len(set(rows['rgb'])) == 1  # Pictures hear nothing.
    assert 'With noise in the sound' in (heard / 'report.html').read_text()
    assert sorted(path.name for path in (heard / 'eval' / 'test_noise').iterdir()) == [
        'clean.npz', 'white_-30dB.npz', 'white_10dB.npz']
    vmmjax('evaluate', f'--workdir={heard}', '--snr=10,-30', '--noise=white')
    assert json.loads((heard / 'eval' / 'test_noise.json').read_text()) == first


def test_noise_needs_a_waveform_and_decibels(trained):
    assert 'none of the streams audio, rgb is one' in refused('evaluate', f'--workdir={trained}', '--snr=0')
    assert 'no decibels' in refused('evaluate', f'--workdir={trained}', '--snr=loud')
    assert 'no decibels' in refused('ablate', '--rows=none.py', f'--workdir={trained}', '--snr=loud')


@pytest.mark.slow
def test_an_ablation_is_measured_in_noise(heard, tmp_path):
    rows = "QUESTION = ''; ROWS = {'both': {}, 'pictures': dict(changes=dict(streams='rgb'))}"
    (tmp_path / 'rows.py').write_text(rows)
    arguments = ['ablate', f'--rows={tmp_path / "rows.py"}', f'--config={heard.parent / "config.py"}',
                 f'--config.data.store={heard.parent / "store"}', f'--workdir={tmp_path / "noise"}']
    found = vmmjax(*arguments)
    assert found.returncode == 0, found.stderr
    assert 'noise, by' not in found.stdout
    found = vmmjax(*arguments, '--snr=0', '--noise=white')  # What was not measured in noise yet is now.
    assert found.returncode == 0, found.stderr
    assert 'accuracy, %, in white noise, by the ratio of sound to noise:' in found.stdout
    table = (tmp_path / 'noise' / 'noise.csv').read_text()
    assert 'both,rgb+waveform,white,0,' in table
    assert 'pictures,rgb,white,0,' in table  # It hears nothing, so it is what it was.
    assert not (tmp_path / 'noise' / 'pictures' / 'seed0' / 'eval' / 'test_noise.json').exists()
