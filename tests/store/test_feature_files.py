import json

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.store import feature_files

SETTINGS = dict(weights='x', window=1.0, stride=0.5, tail='pad')


def windows(rows, times, seed=0):
    rng = np.random.default_rng(seed)
    count = len(rows)
    return {'features': rng.normal(size=(count, 3)).astype(np.float32),
            'rgb/map': rng.normal(size=(count, 2, 2, 4)).astype(np.float32),
            't_start': np.array(times, np.float64), 't_end': np.array(times, np.float64) + 1,
            'row': np.array(rows, np.int32), 'id': np.array([f'clip {row}' for row in rows]),
            'split': np.full(count, 'train'), 'catalog/label': np.array(['äh' if row % 2 else 'o' for row in rows])}


@pytest.mark.parametrize('format', feature_files.FORMATS)
def test_what_is_written_is_read(tmp_path, format):
    path = tmp_path / f'a.{format}'
    parts = [windows([0, 0, 1], [0, .5, 0]), windows([1], [.5], 1)]
    assert feature_files.write(path, iter(parts), SETTINGS) == 4
    found = feature_files.read(path)
    for key, value in windows([0, 0, 1], [0, .5, 0]).items():
        np.testing.assert_array_equal(found[key][:3], value, key)
    assert found.keys() == parts[0].keys()
    assert feature_files.endpoints(found) == ['features', 'rgb/map'] or format != 'npz'
    assert sorted(feature_files.endpoints(found)) == ['features', 'rgb/map']
    assert found['rgb/map'].dtype == np.float32
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_single_file_tells_how_it_was_made(tmp_path):
    feature_files.write(tmp_path / 'a.npz', [windows([0], [0])], SETTINGS)
    with np.load(tmp_path / 'a.npz') as found:
        assert json.loads(str(found['settings'])) == SETTINGS
        assert found['t_end'].tolist() == [1]


@pytest.mark.parametrize('format', feature_files.FORMATS)
def test_what_stops_in_the_middle_leaves_nothing(tmp_path, format):
    def stopping():
        yield windows([0], [0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        feature_files.write(tmp_path / f'a.{format}', stopping(), SETTINGS)
    assert not list(tmp_path.iterdir())


def test_a_folder_is_read_in_the_order_of_the_catalog(tmp_path):
    feature_files.begin(tmp_path, SETTINGS)
    feature_files.write(tmp_path / 'train-0.npz', [windows([2, 0, 0], [0, .5, 0])], SETTINGS)
    feature_files.write(tmp_path / 'test-0.npz', [windows([3], [0])], SETTINGS)
    feature_files.write(tmp_path / 'test-1.npz', [], SETTINGS)
    found = feature_files.read(tmp_path)
    assert found['row'].tolist() == [0, 0, 2, 3]
    assert found['t_start'].tolist() == [0, .5, 0, 0]


def test_a_clip_is_the_mean_of_its_windows_and_of_space_and_time(tmp_path):
    given = windows([4, 4, 7], [0, .5, 0])
    feature_files.write(tmp_path / 'a.npz', [given], SETTINGS)
    x, labels = feature_files.of_clips(tmp_path / 'a.npz', 'rgb/map')
    expected = [given['rgb/map'][:2].mean((0, 1, 2)), given['rgb/map'][2].mean((0, 1))]
    np.testing.assert_allclose(x, expected, rtol=1e-5)
    assert labels['row'].tolist() == [4, 7]
    assert labels['label'].tolist() == ['o', 'äh']
    assert labels['id'].tolist() == ['clip 4', 'clip 7']
    np.testing.assert_allclose(feature_files.of_clips(tmp_path / 'a.npz', '')[0][1], given['features'][2], rtol=1e-6)


def test_features_made_otherwise_are_not_added_to(tmp_path):
    feature_files.begin(tmp_path / 'f', SETTINGS)
    feature_files.begin(tmp_path / 'f', SETTINGS)
    with pytest.raises(UserError, match=r'made with stride=0\.5, not 0\.25; name another --output'):
        feature_files.begin(tmp_path / 'f', SETTINGS | {'stride': 0.25})


def test_what_holds_no_features_is_named(tmp_path):
    with pytest.raises(UserError, match='holds no features'):
        feature_files.read(tmp_path)
    with pytest.raises(UserError, match='holds no features'):
        feature_files.read_settings(tmp_path)
    (tmp_path / 'a.npz').write_bytes(b'PK')
    with pytest.raises(UserError, match=r'a\.npz cannot be read'):
        feature_files.read(tmp_path / 'a.npz')
    (tmp_path / 'a.txt').write_text('')
    with pytest.raises(UserError, match='no file of features'):
        feature_files.read(tmp_path / 'a.txt')
    feature_files.write(tmp_path / 'b.npz', [], SETTINGS)
    with pytest.raises(UserError, match='holds no window'):
        feature_files.read(tmp_path / 'b.npz')


def test_an_endpoint_that_is_not_there_and_features_of_files_are_refused(tmp_path):
    given = windows([4], [0])
    feature_files.write(tmp_path / 'a.npz', [given], SETTINGS)
    with pytest.raises(UserError, match="no endpoint 'feature': did you mean 'features'"):
        feature_files.of_clips(tmp_path / 'a.npz', 'feature')
    feature_files.write(tmp_path / 'b.npz', [{key: given[key] for key in ('features', 't_start', 't_end')}], SETTINGS)
    with pytest.raises(UserError, match='prepare a store'):
        feature_files.of_clips(tmp_path / 'b.npz', '')


def test_features_belong_to_a_file_not_to_its_name(tmp_path):
    settings = SETTINGS | {'format': 'npz'}

    def names(*sources):
        return [path.name for path in feature_files.begin(tmp_path / 'f', settings, sources)]

    first, second = ('1.mp4', 'a' * 64), ('1.mp4', 'b' * 64)
    assert names(first, second, first, ('2.mp4', 'a' * 64)) == [
        '1.mp4.npz', '1.mp4.bbbbbbbb.npz', '1.mp4.npz', '2.mp4.npz']
    assert names(second, first) == ['1.mp4.npz', '1.mp4.aaaaaaaa.npz']  # Nothing was written before.
    feature_files.write(tmp_path / 'f' / '1.mp4.npz', [windows([0], [0])], settings)
    assert names(first) == ['1.mp4.aaaaaaaa.npz']
    assert names(second) == ['1.mp4.npz']
    assert names(('1.mp4', '')) != ['1.mp4.npz']  # It is gone.
    feature_files.begin(tmp_path / 'older', settings)
    with pytest.raises(UserError, match='older vmmjax, which did not record of which files'):
        feature_files.begin(tmp_path / 'older', settings, [first])
