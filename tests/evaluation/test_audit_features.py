import dataclasses

import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.evaluation import audit_features
from vmmjax.store.column import InMemory
from vmmjax.store.store import Store


@pytest.fixture(scope='module')
def found(store_path):
    return audit_features.controls(Store(store_path), progress=False)


def test_every_part_has_a_row_for_each_clip(found, store_path):
    parts, store = {each.name: each.features for each in found[0]}, Store(store_path)
    assert list(parts) == ['metadata', 'presence', 'one frame', 'shuffled frames', 'envelope']
    assert all(len(features) == len(store) for features in parts.values())
    silent = store.column('audio').lengths == 0
    np.testing.assert_array_equal(np.isnan(parts['envelope']).all(1), silent)
    assert 0 < silent.sum() < len(store)
    assert np.isfinite(parts['one frame']).all()
    presence = parts['presence'][:, list(store.columns).index('audio')]
    np.testing.assert_array_equal(presence, (~silent).astype(np.float32))


def test_clips_have_a_hash_a_second(found, store_path):
    durations = Store(store_path).durations
    np.testing.assert_array_equal(np.bincount(found[1].rows), np.maximum(1, np.round(durations)))


def test_frames_are_those_in_the_middle_of_parts_and_repeat_where_there_are_few(store_path):
    column = Store(store_path).column('rgb')
    length = int(column.lengths[0])
    some, one, many = audit_features._spaced(column, 0, 3, 1, 2 * length)
    assert (len(some), len(one), len(many)) == (3, 1, 2 * length)
    np.testing.assert_array_equal(some[1], one[0])
    np.testing.assert_array_equal(many[0::2], many[1::2])
    np.testing.assert_array_equal(many[2 * (length // 2)], one[0])


@pytest.mark.parametrize('kind', ['picture', 'array'])
def test_a_damaged_record_is_one_sentence(store_path, kind):
    store = Store(store_path)
    name = next(name for name, column in store.columns.items() if column.kind == kind and (
        kind == 'picture' or name == 'audio'))
    column = store.columns[name]
    contents = [record[:40] for record in column.records(np.arange(column.offsets[-1]))]
    store.columns[name] = dataclasses.replace(column, source=InMemory(contents, name))
    with pytest.raises(UserError, match=rf'column {name} .* is damaged at the clip .*--verify'):
        audit_features.controls(store, progress=False)


def test_the_envelope_is_the_loudness_over_time():
    tone = np.sin(np.arange(32000)).astype(np.float32) * np.repeat([1, 0.1], 16000)
    levels = audit_features.envelope(tone)
    np.testing.assert_allclose(levels[:16], 20 * np.log10(2 ** -0.5), atol=0.1)
    np.testing.assert_allclose(levels[16:], 20 * np.log10(2 ** -0.5) - 20, atol=0.1)
    assert audit_features.envelope(np.zeros(5, np.float32)).shape == (32,)
    spectrogram = np.repeat(np.arange(64, dtype=np.float32)[:, None], 8, 1)
    np.testing.assert_allclose(audit_features.envelope(spectrogram), np.arange(0.5, 64, 2), atol=1e-5)
