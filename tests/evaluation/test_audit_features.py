import numpy as np
import pytest

from vmmjax.evaluation import audit_features
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


def test_the_envelope_is_the_loudness_over_time():
    tone = np.sin(np.arange(32000)).astype(np.float32) * np.repeat([1, 0.1], 16000)
    levels = audit_features.envelope(tone)
    np.testing.assert_allclose(levels[:16], 20 * np.log10(2 ** -0.5), atol=0.1)
    np.testing.assert_allclose(levels[16:], 20 * np.log10(2 ** -0.5) - 20, atol=0.1)
    assert audit_features.envelope(np.zeros(5, np.float32)).shape == (32,)
    spectrogram = np.repeat(np.arange(64, dtype=np.float32)[:, None], 8, 1)
    np.testing.assert_allclose(audit_features.envelope(spectrogram), np.arange(0.5, 64, 2), atol=1e-5)
