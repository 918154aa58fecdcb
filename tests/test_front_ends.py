import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.errors import UserError
from vmmjax.front_ends import FRONT_ENDS, htk_filters, librosa_htk_filters, slaney_filters

SIZES = [(32000, 1024, 64, 50, 14000), (16000, 512, 64, 50, 8000), (44100, 2048, 128, 0, 22050),
         (8000, 256, 20, 50, 900)]


@pytest.mark.parametrize('size', SIZES)
def test_filters_are_librosas(size: tuple[int, int, int, int, int]) -> None:
    librosa = pytest.importorskip('librosa')
    rate, n_fft, bands, fmin, fmax = size
    mel = {'sr': rate, 'n_fft': n_fft, 'n_mels': bands, 'fmin': fmin, 'fmax': fmax}
    want = librosa.filters.mel(**mel).T
    np.testing.assert_allclose(slaney_filters(*size), want, rtol=0, atol=1e-6 * want.max())
    want = librosa.filters.mel(**mel, htk=True, norm=None).T
    np.testing.assert_allclose(librosa_htk_filters(*size), want, rtol=0, atol=1e-6)


def test_vggishs_filters_are_straight_in_mel() -> None:
    filters = htk_filters(16000, 512, 64, 125, 7500)
    mels = 1127 * np.log(1 + np.arange(257) * 16000 / 512 / 700)
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), 66)
    for i, band in enumerate(filters.T):
        np.testing.assert_allclose(band, np.interp(mels, edges[i:i + 3], [0, 1, 0]), atol=1e-6)
    assert not filters[0].any()


@given(name=st.sampled_from(sorted(FRONT_ENDS)), samples=st.integers(0, 5000), window=st.integers(1, 600),
       hop=st.integers(1, 700))
def test_the_frames_are_where_they_are_said_to_be(name: str, samples: int, window: int, hop: int) -> None:
    end = dataclasses.replace(FRONT_ENDS[name], window=window, hop=hop, n_fft=1024)
    count = end.frames(samples)
    assert (count > 0) == (samples >= end.least)
    if count:
        sound = np.arange(1.0, samples + 1)  # Sample i is i + 1; beyond the ends it is 0 or mirrored.
        padded = end.pad(sound, np)
        assert len(padded) >= (count - 1) * hop + window
        for j in {0, count // 2, count - 1}:
            middle = j * hop + {'start': window // 2, 'centre': 0, 'hop': hop // 2}[end.place]
            if 0 <= middle < samples:
                assert abs(padded[j * hop + window // 2] - (middle + 1)) <= 1


@pytest.mark.parametrize(('change', 'message'), [
    ({'fmax': 9000}, '16000 Hz'), ({'n_fft': 256}, 'n_fft=256'), ({'place': 'center'}, 'start, centre or hop')])
def test_mistakes_are_named(change: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dataclasses.replace(FRONT_ENDS['log_mel'], **change)
