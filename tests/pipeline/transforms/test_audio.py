import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.pipeline import sampling
from vmmjax.pipeline.transforms import audio

SHAPE = (3, 4000)
RNG = np.random.default_rng(0)
SOUND = RNG.normal(0, [[0.1], [1.0], [0.003]], SHAPE).astype(np.float32)
VALID = np.arange(4000) < np.array([[4000], [2500], [400]])


def ratio(sound: np.ndarray, noisy: np.ndarray, counted: np.ndarray) -> np.ndarray:
    powers = [np.square(x.astype(np.float64)).sum(1, where=counted) for x in (sound, noisy - sound)]
    return 10 * np.log10(powers[0] / powers[1])


@given(snr=st.lists(st.floats(-30, 40), min_size=3, max_size=3), seed=st.integers(0, 99))
def test_the_ratio_is_what_is_asked_for(snr: list[float], seed: int) -> None:
    white = audio.white(sampling.uniform(seed, np.arange(3), 'noise', 4000))
    noisy = audio.add_noise(SOUND, VALID, np.array(snr), white)
    assert noisy.dtype == np.float32
    np.testing.assert_allclose(ratio(SOUND, noisy, VALID), snr, atol=0.02)
    np.testing.assert_array_equal(noisy[~VALID], SOUND[~VALID])


def test_the_ratio_is_torchaudios() -> None:
    # Its add_noise: scale = 10 ** ((energy of the sound - energy of the noise - snr) / 20), energies in decibels.
    white = audio.white(RNG.random(SHAPE))
    energies = [10 * np.log10(np.where(VALID, x, 0).astype(np.float64).__pow__(2).sum(1)) for x in (SOUND, white)]
    scale = 10 ** ((energies[0] - energies[1] - 7) / 20)
    np.testing.assert_allclose(audio.add_noise(SOUND, VALID, np.full(3, 7.0), white),
                               SOUND + np.where(VALID, white * scale[:, None], 0), rtol=1e-5, atol=1e-7)


def test_what_is_silent_is_left_alone() -> None:
    sound = SOUND.copy()
    sound[0] = 0
    white = audio.white(RNG.random(SHAPE))
    white[1] = 0
    with np.errstate(all='raise'):
        noisy = audio.add_noise(sound, VALID, np.array([0.0, 0.0, np.inf]), white)
    np.testing.assert_array_equal(noisy, sound)
    np.testing.assert_array_equal(audio.add_noise(SOUND, np.zeros(SHAPE, bool), np.zeros(3), white), SOUND)


def test_the_speech_active_ratio_is_that_of_the_speech() -> None:
    speech = np.zeros((1, 16000), np.float32)
    speech[0, 3200:6400] = RNG.normal(0, 0.2, 3200)
    speech[0, 9600:11200] = RNG.normal(0, 0.05, 1600)
    speech += 1e-4 * RNG.normal(size=speech.shape)
    valid = np.ones(speech.shape, bool)
    active = audio.speech_active(speech, valid)
    expected = np.zeros(speech.shape, bool)
    expected[0, 3200:6400] = expected[0, 9600:11200] = True
    np.testing.assert_array_equal(active, expected)
    white = audio.white(RNG.random(speech.shape))
    noisy = audio.add_noise(speech, valid, np.array([5.0]), white, active)
    assert ratio(speech, noisy, active)[0] == pytest.approx(5, abs=0.01)
    assert ratio(speech, noisy, valid)[0] == pytest.approx(5 - 10 * np.log10(16000 / 4800), abs=0.3)
    assert (noisy != speech).mean() > 0.99  # The noise is heard in the pauses too.
    assert not audio.speech_active(np.zeros((1, 999), np.float32), valid[:, :999]).any()
    assert not audio.speech_active(speech, ~valid).any()


def test_white_noise_is_white_and_normal() -> None:
    draws = RNG.random((2, 40001))
    draws[0, 0] = 0
    white = audio.white(draws)
    assert white.shape == (2, 40001)
    assert np.isfinite(white).all()
    assert white.std() == pytest.approx(1, abs=0.02)
    assert (np.abs(white) < 1).mean() == pytest.approx(0.683, abs=0.01)
    spectrum = np.square(np.abs(np.fft.rfft(white[1])))[1:20001].reshape(10, -1).mean(1)
    np.testing.assert_allclose(spectrum / spectrum.mean(), 1, atol=0.1)


@given(first=st.integers(0, 50), size=st.integers(2, 30), seed=st.integers(0, 9))
def test_babble_is_of_other_clips_of_the_pool(first: int, size: int, seed: int) -> None:
    pool, rows = range(first, first + size), np.arange(first, first + size)
    voices = audio.babble_rows(sampling.uniform(seed, rows, 'voices', 40), rows, np.array(pool))
    assert voices.shape == (size, 40)
    assert voices.min() >= pool.start
    assert voices.max() < pool.stop
    assert not (voices == rows[:, None]).any()


def test_babble_is_of_the_fold_where_its_rows_lie_apart() -> None:
    pool = np.array([1, 4, 5, 9, 30])
    rows = np.array([1, 9, 30, 7, 0, 40])
    voices = audio.babble_rows(RNG.random((6, 4000)), rows, pool)
    for row, found in zip(rows, voices, strict=True):
        values, counts = np.unique(found, return_counts=True)
        np.testing.assert_array_equal(values, pool[pool != row])
        np.testing.assert_allclose(counts / 4000, 1 / len(values), atol=0.04)


def test_babble_takes_every_clip_as_often() -> None:
    inside = audio.babble_rows(RNG.random((1, 9000)), np.array([12]), np.arange(10, 20))
    outside = audio.babble_rows(RNG.random((1, 10000)), np.array([3]), np.arange(10, 20))
    np.testing.assert_allclose(np.bincount(inside[0], minlength=20)[10:], 1000 * (np.arange(10, 20) != 12), atol=120)
    np.testing.assert_allclose(np.bincount(outside[0], minlength=20)[10:], 1000, atol=120)


def test_the_voices_of_a_babble_are_as_loud_as_each_other() -> None:
    voices = np.stack([SOUND, np.zeros_like(SOUND)])  # The second row's voices are silent.
    mixed = audio.babble(voices)
    assert mixed.shape == (2, 4000)
    np.testing.assert_allclose(mixed[0], sum(voice / voice.std() for voice in SOUND), atol=0.2)
    assert not mixed[1].any()


def test_a_shift_moves_what_is_valid_with_it() -> None:
    x = np.arange(1.0, 31).reshape(3, 10).astype(np.float32)
    valid = np.arange(10) < np.array([[10], [10], [4]])
    moved, still = audio.time_shift(x, valid, np.array([0.0, 0.5, 0.999]), most=3)
    np.testing.assert_array_equal(moved[0], [4, 5, 6, 7, 8, 9, 10, 0, 0, 0])
    np.testing.assert_array_equal(still[0], [True] * 7 + [False] * 3)
    np.testing.assert_array_equal(moved[1], x[1])
    np.testing.assert_array_equal(moved[2], [0, 0, 0, 21, 22, 23, 24, 25, 26, 27])
    np.testing.assert_array_equal(still[2], [False] * 3 + [True] * 4 + [False] * 3)
    frames, _ = audio.time_shift(np.repeat(x[:, :, None], 4, 2), valid, np.array([0.0, 0.5, 0.999]), most=3)
    np.testing.assert_array_equal(frames[..., 2], moved)
    assert frames.dtype == np.float32


def test_a_shift_of_any_length_is_as_likely() -> None:
    x = np.tile(np.arange(20), (7000, 1))
    moved, _ = audio.time_shift(x, np.ones(x.shape, bool), np.linspace(0, 1, 7000, endpoint=False), most=3)
    np.testing.assert_array_equal(np.unique(10 - moved[:, 10], return_counts=True), [np.arange(-3, 4), [1000] * 7])


MASKS = dict(time_masks=2, time_width=20, band_masks=2, band_width=8)


@given(seed=st.integers(0, 99), first=st.integers(0, 30), count=st.integers(0, 70))
def test_spec_augment_hides_stretches(seed: int, first: int, count: int) -> None:
    x = np.random.default_rng(seed).normal(-2, 1, (2, 100, 64)).astype(np.float32)
    valid = np.zeros((2, 100), bool)
    valid[:, first:first + count] = True
    done = audio.spec_augment(x, valid, sampling.uniform(seed, np.arange(2), 'masks', 8), **MASKS)
    assert done.dtype == np.float32
    hidden = done != x
    np.testing.assert_array_equal(done[~valid], x[~valid])
    for row in range(2):
        inside = hidden[row, valid[row]]
        assert not count or inside.all(axis=1).sum() <= 40
        assert not count or inside.all(axis=0).sum() <= 16 or inside.all()
        if hidden[row].any():
            np.testing.assert_allclose(done[row][hidden[row]], x[row, valid[row]].mean(), rtol=1e-5)
            # Whole frames and whole bands, nothing else.
            rows, bands = inside.all(axis=1), inside.all(axis=0)
            np.testing.assert_array_equal(inside, rows[:, None] | bands[None])


def test_spec_augment_widths_and_places_are_uniform() -> None:
    x, valid = np.tile(np.arange(50.0, dtype=np.float32)[:, None], (4000, 1, 3)), np.ones((4000, 50), bool)
    done = audio.spec_augment(x, valid, RNG.random((4000, 2)), time_masks=1, time_width=4, band_masks=0, band_width=0)
    hidden = (done != x)[..., 0]
    widths, counts = np.unique(hidden.sum(1), return_counts=True)
    np.testing.assert_array_equal(widths, range(5))
    np.testing.assert_allclose(counts, 800, atol=120)
    at_an_end, within = np.mean([1 / (51 - width) * (width > 0) for width in range(5)]), 2 / 48.5
    np.testing.assert_allclose(hidden.mean(0)[[0, 25, -1]], [at_an_end, within, at_an_end], atol=0.01)
