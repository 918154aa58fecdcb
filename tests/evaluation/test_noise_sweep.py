import json
from types import SimpleNamespace

import numpy as np
import pytest

from vmmjax import config as configs
from vmmjax.errors import UserError
from vmmjax.evaluation import noise_sweep
from vmmjax.evaluation.predictions import Predictions
from vmmjax.reports import noise_table, run_page
from vmmjax.tasks import Classification
from vmmjax.tasks.classification import Several

N = 40
TARGET = np.arange(N) % 2
COLUMNS = {'waveform': SimpleNamespace(kind='array', shape=()), 'rgb': SimpleNamespace(kind='picture', shape=()),
           'audio': SimpleNamespace(kind='array', shape=(64,))}


class Store:
    """As much of a store as is asked for."""

    name = 'stores/a'

    columns = COLUMNS

    def values(self, name):
        return np.array([f'{name} {i}' for i in range(N)])

    def has_values(self, name):
        return False


def config(**streams):
    found = configs.defaults()
    found.data.streams = streams or dict(rgb=dict(modality='rgb', size=8), sound=dict(modality='waveform'))
    return configs.lock(found)


def measure(asked):
    """A model that hears well where there is no noise, sees three of four clips, and listens where it can."""
    def run(changed):
        sound = changed.data.streams['sound']
        asked.append((sound.get('noise', ''), tuple(sound.get('snr', ()))))
        right = {'rgb': np.arange(N) % 4 > 0}
        right['sound'] = np.full(N, True) if not sound.get('noise') else np.arange(N) % 10 < 5 + sound.snr[0] / 4
        right['rgb+sound'] = right['rgb'] | right['sound']
        predictions = {
            name: Predictions(np.arange(N, dtype=np.int32), TARGET,
                                       np.eye(2, dtype=np.float32)[np.where(right[name], TARGET, 1 - TARGET)],
                                       {'rgb': np.full(N, True), 'sound': np.arange(N) >= 4})
            for name in ('rgb+sound', 'rgb', 'sound')}
        task = Classification(target='label', facts={'classes': ['a', 'b']})
        return predictions, task.result(predictions, split='test', step=7, store=Store())
    return run


@pytest.fixture(scope='module')
def swept(tmp_path_factory):
    folder = tmp_path_factory.mktemp('swept')
    asked = []
    found = noise_sweep.sweep(config(), Store(), measure(asked), kinds=['white', 'babble'], ratios=[-8, 4, 4],
                        folder=folder / 'eval' / 'test_noise')
    return found, asked, folder


def test_every_kind_is_measured_clean_and_at_each_ratio_the_loudest_sound_first(swept):
    found, asked, _ = swept
    assert found['ratios'] == [None, 4, -8]
    assert asked == [('', (0, 0)), ('white', (4, 4)), ('white', (-8, -8)), ('babble', (4, 4)), ('babble', (-8, -8))]
    assert [(row['kind'], row['subset']) for row in found['rows']] == [
        (kind, subset) for kind in ('white', 'babble') for subset in ('rgb+sound', 'rgb', 'sound')]
    assert (found['metric'], found['split'], found['step'], found['streams']) == ('accuracy', 'test', 7, ['sound'])
    rows = {row['subset']: row for row in found['rows'][:3]}
    assert rows['sound']['values'] == pytest.approx([1, 20 / 36, 9 / 36])
    assert rows['rgb']['values'] == [.75] * 3
    assert [row['examples'] for row in rows.values()] == [36, 40, 36]


def test_each_figure_has_its_interval_and_all_streams_what_they_gain(swept):
    found, _, folder = swept
    whole, rgb, sound = found['rows'][:3]
    for row in (whole, rgb, sound):
        for value, (mean, low, high) in zip(row['values'], row['intervals'], strict=True):
            assert low <= value <= high
            assert mean == pytest.approx(value, abs=0.03)
    assert whole['gains'] == [None] * 3
    clean, _, noisy = sound['gains']
    assert clean[0] == 0
    assert noisy[1] > 0
    # Where nothing is heard, what is seen remains.
    assert noisy[0] == pytest.approx(whole['values'][2] - sound['values'][2], abs=0.05)
    assert sorted(path.name for path in (folder / 'eval' / 'test_noise').iterdir()) == [
        'babble_-8dB.npz', 'babble_4dB.npz', 'clean.npz', 'white_-8dB.npz', 'white_4dB.npz']


def test_intervals_are_those_of_the_result_by_the_number_of_targets_too(tmp_path):
    right = np.arange(N) % 5 > 0
    target = {'a': TARGET, 'b': np.where(np.arange(N) < 30, TARGET, -1)}
    scores = {name: np.eye(2, dtype=np.float32)[np.where(right, TARGET, 1 - TARGET)] for name in target}
    here = {'rgb': np.full(N, True), 'sound': np.full(N, True)}
    task = Several(target=('a', 'b'), facts={'classes': {'a': ['x', 'y'], 'b': ['x', 'y']}})
    whole = {name: Predictions(np.arange(N, dtype=np.int32), target, scores, here)
             for name in ('rgb+sound', 'rgb', 'sound')}
    expected = task.result(whole, split='test', step=7, store=Store())
    for name, folder in (('one of several processes', None), ('the first one', tmp_path)):
        found = noise_sweep.sweep(config(), Store(), lambda changed: (whole, expected), kinds=['white'], ratios=[4],
                                  folder=folder)
        for row in found['rows']:
            interval = expected.subsets[row['subset']]['intervals']['accuracy']
            assert row['intervals'] == [[row['values'][0], interval['low'], interval['high']]] * 2, name
            assert row['methods'] == [interval['label']] * 2


def test_of_few_groups_there_are_no_intervals(tmp_path, monkeypatch):
    monkeypatch.setattr(Store, 'has_values', lambda self, name: True)
    monkeypatch.setattr(Store, 'values', lambda self, name: (np.arange(N) % (N if name == 'id' else 4)).astype(str))
    found = noise_sweep.sweep(config(), Store(), measure([]), kinds=['white'], ratios=[4],
                              folder=tmp_path / 'eval' / 'x')
    assert found['rows'][0]['intervals'][0][1:] == found['rows'][1]['gains'][0][1:] == [None, None]
    noise_sweep.write(tmp_path, found)
    assert 'Small: no CI: 4 groups, fewer than 5.' in run_page.write(tmp_path).read_text()


def test_the_config_of_the_run_stays_as_it_is():
    given = config()
    before = configs.to_json(given)
    changed = noise_sweep.noisy(given, ['sound'], 'white', -5.0)
    assert configs.to_json(given) == before
    assert changed.data.streams.sound.noise == 'white'
    assert changed.data.streams.rgb == given.data.streams.rgb


def test_a_noise_of_training_is_told_and_left_out_of_clean():
    trained = config(sound=dict(modality='waveform', noise='babble', snr=(0, 10), snr_of_speech=True))
    assert noise_sweep.noisy(trained, ['sound'], '', 0.0).data.streams.sound.noise == ''
    assert noise_sweep.noisy(trained, ['sound'], 'white', 5.0).data.streams.sound.snr_of_speech
    asked = []
    found = noise_sweep.sweep(trained, Store(), measure(asked), kinds=['white'], ratios=[0], folder=None)
    assert found['trained'] == {'sound': 'trained with babble noise at 0 to 10 dB'}
    assert 'gains' not in found['rows'][0]


def test_it_stands_on_the_terminal_and_on_the_page(swept):
    found, _, folder = swept
    text = noise_table.terminal_table(found)
    assert 'white noise in sound: accuracy' in text
    assert [line.split() for line in text.splitlines()][1:4:2] == [
        ['streams', 'clips', 'clean', '4', 'dB', '-8', 'dB'], ['rgb', '40', '75.0', '75.0', '75.0']]
    path = noise_sweep.write(folder, found)
    assert json.loads(path.read_text()) == found
    page = run_page.write(folder).read_text()
    assert 'Small: 95 % CI, Wilson.' in page
    assert 'With noise in the sound, test split' in page
    assert page.count('<svg') == 2
    assert 'trained without noise' in page
    assert 'test_noise' not in page  # It is no split.
    again = run_page.write(folder).read_text()
    assert again == page


def test_a_page_without_noise_says_nothing_of_it(tmp_path):
    assert 'With noise' not in run_page.write(tmp_path).read_text()


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / 'eval').mkdir()
    (tmp_path / 'eval' / 'test_noise.json').write_text('{}')
    with pytest.raises(UserError, match=r'test_noise\.json is no result with noise'):
        noise_table.sections(tmp_path)


def test_noise_needs_a_waveform_and_a_known_kind():
    given = config(rgb=dict(modality='rgb', size=8), audio=dict(modality='audio'), text=dict(modality='text:said'))
    with pytest.raises(UserError, match=r'none of the streams .* is one: train on the column waveform'):
        noise_sweep.heard(given, Store())
    with pytest.raises(UserError, match="no noise 'whit': did you mean 'white'"):
        noise_sweep.heard(config(), Store(), ['whit'])
    assert noise_sweep.heard(config(), Store()) == ['sound']


def test_a_figure_is_found_again_by_its_condition(swept, tmp_path):
    found, _, _ = swept
    noise_sweep.write(tmp_path, found)
    whole = next(row for row in found['rows'] if row['kind'] == 'babble')
    for level, number in zip(found['ratios'], whole['values'], strict=True):
        name = noise_sweep.condition('babble', level)
        assert noise_sweep.value(tmp_path, found['split'], 'accuracy', name) == number
    with pytest.raises(UserError, match="has no 'los' in the condition 'clean'; it has accuracy in babble_"):
        noise_sweep.value(tmp_path, found['split'], 'los', 'clean')
    with pytest.raises(UserError, match="has no 'accuracy' in the condition 'white_3dB'"):
        noise_sweep.value(tmp_path, found['split'], 'accuracy', 'white_3dB')
    noise_sweep.path_of(tmp_path, found['split']).write_text('{"rows": 3}')
    with pytest.raises(UserError, match='cannot be read'):
        noise_sweep.value(tmp_path, found['split'], 'accuracy', 'clean')
