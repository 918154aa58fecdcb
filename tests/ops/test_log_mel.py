import dataclasses
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ops.sounds import golden_waveform
from vmmjax.errors import UserError
from vmmjax.front_ends import htk_filters, slaney_filters
from vmmjax.ops import FRONT_ENDS, log_mel, valid_frames

NOISE = np.random.default_rng(0).normal(0, 0.1, 6000).astype(np.float32)


@pytest.mark.parametrize(('case', 'front_end', 'tolerance'), [
    ('vggish_2.5s', 'vggish', 1e-4), ('panns_cnn10_32k', 'panns_32k', 1e-3), ('panns_cnn14_32k', 'panns_32k', 1e-3)])
def test_spectrograms_are_the_published_front_ends(shared_golden: Path, case: str, front_end: str,
                                                   tolerance: float) -> None:
    want = np.load(shared_golden / f'cases/{case}.npz')['log_mel']
    got = np.asarray(log_mel(golden_waveform(shared_golden, case), front_end))
    if front_end == 'vggish':
        assert got.shape == (248, 64)
        got = got[:192].reshape(2, 96, 64)
    np.testing.assert_allclose(got, want, rtol=0, atol=tolerance)


@pytest.mark.parametrize('name', ['panns_32k', 'panns_16k'])
def test_panns_is_librosas_spectrogram(name: str) -> None:
    librosa = pytest.importorskip('librosa')
    end = FRONT_ENDS[name]
    mel = librosa.feature.melspectrogram(y=NOISE, sr=end.rate, n_fft=end.n_fft, hop_length=end.hop, n_mels=64,
                                         fmin=end.fmin, fmax=end.fmax, pad_mode='reflect')
    want = librosa.power_to_db(mel, amin=1e-10, top_db=None).T
    np.testing.assert_allclose(log_mel(NOISE, name), want, rtol=0, atol=1e-3)


def test_vggish_is_its_formula_frame_by_frame() -> None:
    got = log_mel(NOISE, 'vggish')
    for i in (0, 17, 34):
        frame = NOISE[160 * i:160 * i + 400] * (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400))
        want = np.log(np.abs(np.fft.rfft(frame, 512)) @ htk_filters(16000, 512, 64, 125, 7500) + 0.01)
        np.testing.assert_allclose(got[i], want, rtol=0, atol=1e-5)


@pytest.mark.parametrize(('name', 'silence'), [('vggish', np.log(0.01)), ('panns_32k', -100.0)])
def test_silence_has_a_floor_and_a_gradient(name: str, silence: float) -> None:
    x = jnp.zeros(2000)
    np.testing.assert_allclose(log_mel(x, name), silence, rtol=1e-6)
    assert jnp.isfinite(jax.grad(lambda x: log_mel(x, name).sum())(x)).all()


@pytest.mark.parametrize('name', sorted(FRONT_ENDS))
def test_a_batch_is_its_rows_and_jit_is_no_jit(name: str) -> None:
    batch = np.stack([NOISE, NOISE[::-1]])
    got = jax.jit(lambda x: log_mel(x, name))(batch)
    assert got.dtype == jnp.float32
    assert log_mel(batch.astype(jnp.bfloat16), name).dtype == jnp.float32
    for row, want in zip(batch, got, strict=True):
        np.testing.assert_allclose(log_mel(row, name), want, rtol=0, atol=1e-4)


@given(size=st.integers(600, 5000), name=st.sampled_from(sorted(FRONT_ENDS)))
def test_length(size: int, name: str) -> None:
    end = FRONT_ENDS[name]
    frames = jax.eval_shape(lambda x: log_mel(x, name), jax.ShapeDtypeStruct((3, size), jnp.float32))
    counts = {'start': (size - 400) // 160 + 1, 'centre': size // end.hop + 1, 'hop': size // 160}
    assert frames.shape == (3, counts[end.place], 64)


def same(got: np.ndarray, column: np.ndarray, name: str) -> None:
    """To 1e-4 of the logarithm where it has an offset, else of the clip's greatest power."""
    if FRONT_ENDS[name].offset is None:
        got, column = 10 ** (got / 10), 10 ** (column / 10)
    np.testing.assert_allclose(got, column, rtol=0, atol=1e-4 * (1 if FRONT_ENDS[name].offset else column.max()))


@pytest.mark.parametrize('name', sorted(FRONT_ENDS))
def test_the_device_makes_the_columns_spectrogram(name: str) -> None:
    spectrum = pytest.importorskip('vmmjax.media.spectrum')
    times = np.arange(3 * 16000 + 77) / 16000
    sounds = [np.sin(2 * np.pi * (100 * times + 600 * times ** 2)) * (times % 1 < 0.6),
              1e-4 * np.resize(NOISE, times.size),
              np.resize(NOISE, times.size), np.sign(np.sin(2 * np.pi * 300 * times))]
    for sound in sounds:
        same(np.asarray(log_mel(sound.astype(np.float32), name)),
             spectrum.log_mel(sound.astype(np.float32), FRONT_ENDS[name]), name)


@pytest.mark.parametrize('name', sorted(FRONT_ENDS))
def test_the_device_makes_the_columns_spectrogram_of_real_sound(shared_data: Path, name: str) -> None:
    audio, spectrum = pytest.importorskip('vmmjax.media.audio'), pytest.importorskip('vmmjax.media.spectrum')
    end = FRONT_ENDS[name]
    for file in ('v_GGSY1Qvo990.mp4', 'nasa_13013.mp4.audio.mp3'):
        sound = audio.read_waveform(shared_data / 'clips' / file, start=0, end=5, rate=end.rate)
        same(np.asarray(log_mel(sound, name)), spectrum.log_mel(sound, end), name)


@pytest.mark.parametrize('name', ['log_mel', 'panns_16k'])
def test_gradients_are_the_slopes(name: str) -> None:
    way = np.random.default_rng(1).normal(size=NOISE.size).astype(np.float32)

    def mean(step: jax.Array) -> jax.Array:
        return log_mel(NOISE + step * way, name).mean()

    np.testing.assert_allclose(jax.grad(mean)(0.01), (mean(0.011) - mean(0.009)) / 0.002, rtol=2e-2)


@given(samples=st.integers(0, 4000), name=st.sampled_from(sorted(FRONT_ENDS)))
def test_valid_frames_are_as_many_as_the_clip_has(samples: int, name: str) -> None:
    end, valid = FRONT_ENDS[name], np.arange(4000)[None] < samples
    got = np.asarray(valid_frames(valid, name))
    assert got.shape == (1, end.frames(4000))
    least = end.frames(samples) if end.place != 'centre' else samples // end.hop + 1 if samples else 0
    np.testing.assert_array_equal(got[0], np.arange(got.shape[1]) < least)


def test_ones_own_front_end() -> None:
    own = dataclasses.replace(FRONT_ENDS['panns_16k'], bands=40, window=400, hop=100)
    mel = log_mel(jnp.sin(2 * jnp.pi * 1000 / 16000 * jnp.arange(16000.0)), own)
    assert mel.shape == (161, 40)
    assert mel[80].argmax() == slaney_filters(16000, 512, 40, 50, 8000)[32].argmax()
    click = log_mel(jnp.zeros(4000).at[1200].set(1), own)
    assert click.sum(1).argmax() == 12  # Frame j is centred on sample j * hop.


@pytest.mark.parametrize(('waveform', 'name', 'message'), [
    (NOISE, 'vgish', "did you mean 'vggish'"),
    ((NOISE * 32768).astype(np.int16), 'vggish', 'divide int16 by 32768'),
    (NOISE[:399], 'vggish', '400 samples at 16000 Hz'),
    (NOISE[:512], 'panns_32k', '513 samples at 32000 Hz'),
    (NOISE[None, None], 'vggish', r'\(S,\) or \(B, S\)')])
def test_mistakes_are_named(waveform: np.ndarray, name: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        log_mel(waveform, name)
