import dataclasses
from pathlib import Path

import numpy as np
import pytest

from tests.ops.sounds import golden_waveform
from vmmjax.errors import UserError
from vmmjax.front_ends import FRONT_ENDS
from vmmjax.media import audio, denoise, spectrum
from vmmjax.media.writer import write_clip
from vmmjax.prepare.audio_columns import Audio, Mfcc, Waveform
from vmmjax.store.catalog import ClipInfo

OWN = dataclasses.replace(FRONT_ENDS['panns_16k'], bands=20)


@pytest.fixture(scope='module')
def clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ClipInfo]:
    """3 s: half a second of faint noise on both sides of a tone."""
    path = tmp_path_factory.mktemp('sound') / 'a.mp4'
    times = np.arange(3 * 16000) / 16000
    sound = 0.004 * np.random.default_rng(0).standard_normal(times.size)
    sound += 0.3 * np.sin(2 * np.pi * 500 * times) * ((times > 0.5) & (times < 2.5))
    write_clip(path, np.zeros((30, 16, 16, 3), np.uint8), fps=10, waveform=sound.astype(np.float32))
    return path, ClipInfo('a.mp4', 'train', 'x', 0.0, 3.0, 3.0, 10.0, 16, 16, 16000)


def heard(clip: tuple[Path, ClipInfo], rate: int) -> np.ndarray:
    waveform = audio.read_waveform(clip[0], start=0, end=3, rate=rate)
    assert waveform is not None
    return waveform


def test_the_waveform_is_the_files_sound(clip: tuple[Path, ClipInfo]) -> None:
    column = Waveform(audio_rate=8000)
    samples, = column.read(*clip)
    assert samples.shape == (24000, *column.shape)
    assert samples.dtype == np.float32
    assert column.rate == 8000
    np.testing.assert_array_equal(samples, heard(clip, 8000))


@pytest.mark.parametrize('name', [*FRONT_ENDS, f'{__name__}:OWN'])
def test_audio_is_the_spectrogram_of_its_front_end(clip: tuple[Path, ClipInfo], name: str) -> None:
    column, end = Audio(front_end=name), FRONT_ENDS.get(name, OWN)
    frames, = column.read(*clip)
    np.testing.assert_array_equal(frames, spectrum.log_mel(heard(clip, end.rate), end))
    assert frames.shape == (end.frames(3 * end.rate), *column.shape)
    assert column.rate == 100
    assert column.audio_rate == end.rate


def test_the_column_meets_the_golden_spectrogram(shared_golden: Path, tmp_path: Path) -> None:
    write_clip(tmp_path / 'a.mp4', np.zeros((25, 16, 16, 3), np.uint8), fps=10, waveform=np.zeros(40000, np.float32))
    sound = golden_waveform(shared_golden, 'vggish_2.5s')
    with pytest.MonkeyPatch.context() as patch:  # An encoder would change the sound.
        patch.setattr(audio, 'each_waveform', lambda *args, **options: iter([sound]))
        frames, = Audio(front_end='vggish').read(
            tmp_path / 'a.mp4', ClipInfo('a.mp4', 'train', 'x', 0, 2.5, 2.5, 10, 16, 16, 16000))
    want = np.load(shared_golden / 'cases/vggish_2.5s.npz')['log_mel']
    np.testing.assert_allclose(frames[:192].reshape(2, 96, 64), want, rtol=0, atol=1e-4)


def test_cepstra_have_their_own_rate(clip: tuple[Path, ClipInfo]) -> None:
    column = Mfcc(hop_ms=20, coefficients=13)
    frames, = column.read(*clip)
    assert frames.shape == (150, *column.shape) == (150, 13)
    assert column.rate == 50
    assert (frames[40:110, 0] > frames[:20, 0].max()).all()  # The first says how loud it is.


@pytest.mark.parametrize('kind', [Waveform, Audio, Mfcc])
def test_cleaning_changes_no_time(clip: tuple[Path, ClipInfo], kind: type[Waveform]) -> None:
    plain, = kind().read(*clip)
    cleaned, = kind(denoise=1.0, trim_db=30.0).read(*clip)
    assert cleaned.shape == plain.shape
    assert not np.array_equal(cleaned, plain)


def test_noise_is_cleaned_before_the_ends_are_silenced(clip: tuple[Path, ClipInfo]) -> None:
    samples, = Waveform(denoise=0.9, trim_db=30.0).read(*clip)
    assert not samples[:6000].any()
    assert not samples[-6000:].any()
    expected = denoise.gate(heard(clip, 16000), rate=16000, strength=0.9)
    np.testing.assert_array_equal(samples[10000:38000], expected[10000:38000])


def test_no_sound_track_gives_nothing(clip: tuple[Path, ClipInfo]) -> None:
    row = dataclasses.replace(clip[1], audio_rate=None)
    for kind in (Waveform, Audio, Mfcc):
        assert list(kind().read(clip[0], row)) == []


@pytest.mark.parametrize(('kind', 'options', 'said'), [
    (Audio, dict(front_end='vgish'), "did you mean 'vggish'"),
    (Audio, dict(front_end='vggish', bands=80), 'vggish has 64'),
    (Audio, dict(front_end='panns_32k', audio_rate=16000), 'panns_32k has 32000'),
    (Audio, dict(fmin=8000.0), 'fmin < fmax'),
    (Waveform, dict(audio_rate=0), 'audio_rate'),
    (Waveform, dict(denoise=2.0), 'from 0 to 1'),
    (Mfcc, dict(trim_db=-1.0), 'trim_db'),
    (Mfcc, dict(coefficients=50), '50 coefficients of 40 bands')])
def test_options_out_of_range(kind: type[Waveform], options: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        kind(**options)  # type: ignore[arg-type]
