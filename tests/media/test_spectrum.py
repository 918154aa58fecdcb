import dataclasses
import os
import shutil
import subprocess
import sys
from pathlib import Path

import librosa
import numpy as np
import pytest

from tests.media.writing import Track, write_tracks
from tests.ops.sounds import golden_waveform
from vmmjax.front_ends import FRONT_ENDS
from vmmjax.media import spectrum
from vmmjax.media.spectrum import log_mel, log_mels, mfcc

RATE = 16000
OURS = FRONT_ENDS['log_mel']
NOISE = np.random.default_rng(0).normal(0, 0.1, RATE).astype(np.float32)


@pytest.mark.parametrize(('case', 'name', 'tolerance'), [
    ('vggish_2.5s', 'vggish', 1e-4), ('panns_cnn10_32k', 'panns_32k', 1e-3), ('panns_cnn14_32k', 'panns_32k', 1e-3)])
def test_spectrograms_are_the_published_front_ends(shared_golden: Path, case: str, name: str,
                                                   tolerance: float) -> None:
    want = np.load(shared_golden / f'cases/{case}.npz')['log_mel']
    got = log_mel(golden_waveform(shared_golden, case), FRONT_ENDS[name])
    np.testing.assert_allclose(got[:192].reshape(2, 96, 64) if name == 'vggish' else got, want, rtol=0, atol=tolerance)


def test_silence_and_a_tone() -> None:
    assert log_mel(np.zeros(RATE, np.float32), OURS) == pytest.approx(np.log(0.01))
    tone = np.sin(2 * np.pi * 1000 * np.arange(2 * RATE) / RATE).astype(np.float32)
    mel = log_mel(tone, OURS)
    assert mel.shape == (200, 64)
    assert mel.dtype == np.float32
    centres = librosa.mel_frequencies(66, fmin=125, fmax=7500, htk=True)[1:-1]
    assert abs(centres[mel[100].argmax()] - 1000) < 50


@pytest.mark.parametrize('at', [0, 4, 57, 99])
def test_our_frames_stand_for_their_hop(at: int) -> None:
    click = np.zeros(RATE, np.float32)
    click[at * 160 + 80] = 1
    assert log_mel(click, OURS).sum(1).argmax() == at
    assert mfcc(click, rate=RATE, window=400, hop=160, bands=40, coefficients=13)[:, 0].argmax() == at


def test_ours_is_librosas() -> None:
    mel = librosa.feature.melspectrogram(y=NOISE[320 - 120:], sr=RATE, n_fft=512, hop_length=160, power=1.0,
                                         window=np.pad(librosa.filters.get_window('hann', 400), (0, 112)),
                                         win_length=512, center=False, n_mels=64, fmin=125, fmax=7500, htk=True,
                                         norm=None)
    np.testing.assert_allclose(log_mel(NOISE, OURS)[2:2 + mel.shape[1]], np.log(mel.T + 0.01), atol=1e-4)


@pytest.mark.parametrize('name', ['panns_32k', 'panns_16k'])
def test_panns_are_librosas(name: str) -> None:
    end = FRONT_ENDS[name]
    mel = librosa.feature.melspectrogram(y=NOISE, sr=end.rate, n_fft=end.n_fft, hop_length=end.hop, n_mels=64,
                                         fmin=end.fmin, fmax=end.fmax, pad_mode='reflect')
    want = librosa.power_to_db(mel, amin=1e-10, top_db=None).T
    np.testing.assert_allclose(log_mel(NOISE, end), want, rtol=0, atol=1e-3)


def test_mfcc_is_librosas() -> None:
    got = mfcc(NOISE, rate=RATE, window=400, hop=160, bands=40, coefficients=13)
    assert got.shape == (100, 13)
    # A frame of 512 samples that is centred on hop 2 begins at sample 144.
    want = librosa.feature.mfcc(y=NOISE[144:], sr=RATE, n_mfcc=13, n_fft=512, win_length=400, hop_length=160,
                                center=False, n_mels=40).T
    np.testing.assert_allclose(got[2:2 + len(want)], want, atol=1e-3)


@pytest.mark.parametrize('size', [0, 1, 159, 160, 400, 16000, 16159])
@pytest.mark.parametrize('hop', [80, 160, 640])
def test_lengths(size: int, hop: int) -> None:
    sound = np.zeros(size, np.float32)
    assert log_mel(sound, dataclasses.replace(OURS, hop=hop)).shape == (size // hop, 64)
    assert mfcc(sound, rate=RATE, window=400, hop=hop, bands=40, coefficients=13).shape == (size // hop, 13)


def test_too_short_a_sound_has_no_frames() -> None:
    assert log_mel(NOISE[:399], FRONT_ENDS['vggish']).shape == (0, 64)
    assert log_mel(NOISE[:512], FRONT_ENDS['panns_32k']).shape == (0, 64)


@pytest.mark.parametrize('name', sorted(FRONT_ENDS))
def test_a_long_sound_is_its_parts(name: str) -> None:
    end = FRONT_ENDS[name]
    sound = np.resize(NOISE, 5000 * end.hop)
    whole = log_mel(sound, end)
    assert len(whole) > 4096
    part = log_mel(sound[4000 * end.hop:4200 * end.hop], end)
    np.testing.assert_allclose(whole[4010:4190], part[10:190], atol=1e-4)


_DIGESTS = """
import hashlib, sys
from pathlib import Path
import numpy as np
from vmmjax.front_ends import FRONT_ENDS
from vmmjax.prepare.audio_columns import Audio, Mfcc
from vmmjax.store.catalog import ClipInfo
clip = ClipInfo('a.wav', 'train', 'a', 0.0, 2.0, 2.0, None, None, None, 22050)
columns = [column for denoise in (0.0, 0.8) for column in (
    *(Audio(front_end=name, denoise=denoise) for name in FRONT_ENDS), Mfcc(denoise=denoise))]
print(*[hashlib.sha256(np.concatenate(list(column.read(Path(sys.argv[1]), clip))).tobytes()).hexdigest()
        for column in columns])
"""
_ODD = 'AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR'


@pytest.mark.slow
def test_bytes_do_not_depend_on_the_machine(tmp_path: Path) -> None:
    """A matrix product of NumPy's differs with cores, threads and kernels of the BLAS; the last are NumPy's own."""
    rng = np.random.default_rng(0)
    times = np.arange(2 * 22050) / 22050
    sound = 0.3 * np.sin(2000 * times) + rng.normal(0, 0.05, len(times))
    write_tracks(tmp_path / 'a.wav', Track('pcm_s16le', sound.astype(np.float32), 22050))
    begin = [['taskset', '-c', str(min(os.sched_getaffinity(0)))]] if shutil.which('taskset') else []
    kinds = ['Haswell', 'Nehalem'] + ['SkylakeX'] * ('avx512f' in Path('/proc/cpuinfo').read_text())
    ways = [([], {}), *((first, {}) for first in begin),
            *(([], {'OPENBLAS_NUM_THREADS': count, 'OMP_NUM_THREADS': count}) for count in '14'),
            *(([], {'OPENBLAS_CORETYPE': kind}) for kind in kinds), ([], {'NPY_DISABLE_CPU_FEATURES': _ODD})]
    own = {name: value for name, value in os.environ.items() if not name.endswith('NUM_THREADS')}
    command = [sys.executable, '-W', 'ignore', '-c', _DIGESTS, tmp_path / 'a.wav']
    found = {subprocess.run([*first, *command], check=True, text=True, stdout=subprocess.PIPE, env=own | changes).stdout
             for first, changes in ways}
    assert len(found) == 1
    assert len(set(found.pop().split())) == 10


@pytest.mark.parametrize('name', sorted(FRONT_ENDS))
@pytest.mark.parametrize('size', [0, 513, 5000, 11111])
def test_a_sound_in_pieces_is_the_whole_bit_for_bit(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spectrum, '_TOGETHER', 7)
    whole = log_mel(NOISE[:size], FRONT_ENDS[name])
    for cuts in ([], [1, 1, 700], range(0, size, 37), [size // 2]):
        pieces = np.split(NOISE[:size], list(cuts))
        np.testing.assert_array_equal(np.concatenate(list(log_mels(pieces, size, FRONT_ENDS[name]))), whole)
