from pathlib import Path

import numpy as np
import pytest

from vmmjax.media.audio import read_waveform
from vmmjax.media.denoise import gate, silence_ends

RATE = 16000
TIMES = np.arange(4 * RATE) / RATE
# Tones that come and go, as words do: silent for half of each second.
VOICE = (0.3 * np.sin(2 * np.pi * (300 * TIMES + 400 * TIMES ** 2)) * (TIMES % 1 < 0.5)).astype(np.float32)
NOISE = np.random.default_rng(0).normal(0, 0.05, len(TIMES)).astype(np.float32)


def snr(sound: np.ndarray, clean: np.ndarray) -> float:
    return 10 * np.log10((clean ** 2).sum() / ((sound - clean) ** 2).sum())


def test_steady_noise_goes() -> None:
    cleaned = gate(VOICE + NOISE, rate=RATE, strength=1.0)
    assert cleaned.shape == VOICE.shape
    assert cleaned.dtype == np.float32
    assert snr(cleaned, VOICE) > snr(VOICE + NOISE, VOICE) + 10
    assert cleaned[TIMES % 1 > 0.6].std() < 0.2 * NOISE.std()


def test_half_the_strength_takes_half_of_it() -> None:
    cleaned = gate(VOICE + NOISE, rate=RATE, strength=0.5)
    assert cleaned[TIMES % 1 > 0.6].std() == pytest.approx(0.5 * NOISE.std(), rel=0.1)
    np.testing.assert_allclose(gate(VOICE + NOISE, rate=RATE, strength=0.0), VOICE + NOISE, atol=1e-5)


def test_noise_goes_from_a_real_sentence(shared_data: Path) -> None:
    clean = read_waveform(shared_data / 'grid' / 'clips' / 'prbdzn.mp4', start=0, end=3, rate=RATE)
    assert clean is not None
    noise = NOISE[:len(clean)] * np.sqrt((clean ** 2).sum() / (NOISE[:len(clean)] ** 2).sum() * 10 ** -0.5)
    assert snr(gate(clean + noise, rate=RATE, strength=1.0), clean) > 11  # It was 5.


def test_a_clean_sound_stays() -> None:
    assert snr(gate(VOICE, rate=RATE, strength=1.0), VOICE) > 20


def test_digital_silence_is_not_taken_for_the_noise() -> None:
    padded = np.concatenate([np.zeros(8 * RATE, np.float32), VOICE + NOISE])
    assert snr(gate(padded, rate=RATE, strength=1.0)[8 * RATE:], VOICE) > snr(VOICE + NOISE, VOICE) + 10


@pytest.mark.parametrize('sound', [np.zeros(RATE, np.float32), np.zeros(0, np.float32), VOICE[:100]])
def test_nothing_to_clean(sound: np.ndarray) -> None:
    np.testing.assert_array_equal(gate(sound, rate=RATE, strength=1.0), sound)


def test_silent_ends_keep_their_place() -> None:
    sound = 0.001 * NOISE
    sound[RATE:2 * RATE] += 0.3 * np.sin(2 * np.pi * 500 * TIMES[:RATE]).astype(np.float32)
    done = silence_ends(sound, below_db=40)
    assert done.shape == sound.shape
    np.testing.assert_array_equal(done[RATE:2 * RATE], sound[RATE:2 * RATE])
    assert not done[:RATE - 2048].any()
    assert not done[2 * RATE + 2048:].any()
    np.testing.assert_array_equal(silence_ends(sound, below_db=120), sound)
    np.testing.assert_array_equal(silence_ends(np.zeros(RATE, np.float32), below_db=40), np.zeros(RATE))
