"""Something that is seen and heard at the same instant is at the same place of both columns, wherever they are cut."""

from pathlib import Path

import numpy as np
import pytest

from tests.media.files import write_media
from vmmjax.media.probe import probe
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Audio, Rgb
from vmmjax.store.catalog import ClipInfo
from vmmjax.store.store import Store

SECONDS, FPS = 12, 50
# Instants at which a flash and a tone begin, and those at which they end, on pictures of 50 a second.
BEGINS = np.array([0.5, 1.62, 2.9, 4.1, 5.54, 7.0, 8.28, 9.6, 10.9])
ENDS = BEGINS + np.array([0.3, 0.5, 0.4, 0.6, 0.3, 0.5, 0.7, 0.3, 0.6])


def _write(path: Path, *, codec: str = 'libx264', sound_codec: str = 'aac', rate: int = 44100, late_ms: int = 0,
           sound_late_ms: int = 0, options: dict[str, str] | None = None, steps: tuple[int, int] = (20, 21)) -> None:
    """Pictures from `late_ms` on, `steps` milliseconds apart, and sound from `sound_late_ms` on: on one clock."""
    gaps = np.random.default_rng(0).integers(*steps, 2 * SECONDS * FPS)
    times = np.cumsum(gaps) - gaps[0]
    # A picture at every instant that counts, whatever the rate.
    times = np.unique([*times[times < 1000 * SECONDS], *np.rint(1000 * np.concatenate([BEGINS, ENDS])).astype(int)])
    lit = _on(times / 1000)
    frames = np.where(lit[:, None, None, None], 255, 0).astype(np.uint8) * np.ones((1, 64, 64, 3), np.uint8)
    moments = np.arange(SECONDS * rate) / rate
    waveform = np.where(_on(moments), 0.8 * np.sin(2000 * np.pi * moments), 0)
    first = (sound_late_ms - late_ms) * rate // 1000
    waveform = waveform[max(first, 0):].astype(np.float32)
    write_media(path, frames, (times + late_ms).tolist(), codec=codec, waveform=waveform, sound_codec=sound_codec,
                rate=rate, sound_at_ms=late_ms + max(sound_late_ms - late_ms, 0), options=options)


def _on(moments: np.ndarray) -> np.ndarray:
    passed = np.searchsorted(BEGINS, moments + 1e-9, side='right'), np.searchsorted(ENDS, moments + 1e-9, side='right')
    return passed[0] > passed[1]


FILES = {
    'plain.mp4': {},
    'gop.mp4': {'options': {'g': '60', 'bf': '3'}, 'rate': 48000},
    'late.mp4': {'late_ms': 700, 'sound_late_ms': 700},
    'sound_late.mp4': {'sound_late_ms': 1300},
    'varying.mkv': {'steps': (7, 60), 'sound_codec': 'pcm_s16le', 'rate': 16000},
    'late.mkv': {'late_ms': 5000, 'sound_late_ms': 5000, 'rate': 22050},
    'plain.mov': {'rate': 32000, 'sound_codec': 'pcm_s16le'},
    'open.mp4': {'codec': 'libx265',
                 'options': {'x265-params': 'keyint=40:open-gop=1:bframes=4:log-level=none:pools=1'}},
}


@pytest.fixture(scope='module')
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp('alignment') / 'clips'
    (folder / 'clap').mkdir(parents=True)
    for name, options in FILES.items():
        _write(folder / 'clap' / name, **options)
    return folder


def _changes(values: np.ndarray, rate: float) -> np.ndarray:
    """Seconds from the window's start at which a sequence of frames goes on or off."""
    on = values > 0.5 * np.median(values[values > 0.3 * values.max()])
    return np.flatnonzero(on[1:] != on[:-1]) / rate + 1 / rate


def _power(mel: np.ndarray) -> np.ndarray:
    return np.square(np.exp(mel) - 0.01).mean(1)


def _check(pictures: np.ndarray, sounds: np.ndarray, fps: float, hop_rate: float, start: float,
           silent_until: float) -> int:
    """Compares the changes seen with those heard; returns how many there were."""
    seconds = min(len(pictures) / fps, len(sounds) / hop_rate)
    unit = max(1 / fps, 1 / hop_rate)
    seen, heard = _changes(pictures.mean((1, 2, 3)), fps), _changes(sounds, hop_rate)
    first = max(0.1, silent_until - start)
    seen, heard = (times[(times > first) & (times < seconds - 0.1)] for times in (seen, heard))
    true = np.concatenate([BEGINS, ENDS]) - start
    for times, what in ((seen, 'seen'), (heard, 'heard')):
        wanted = true[(true > first + unit) & (true < seconds - 0.1 - unit)]
        assert all(np.abs(times - moment).min() <= unit + 1e-6 for moment in wanted), (what, times, wanted, unit)
    pairs = [(moment, heard[np.abs(heard - moment).argmin()]) for moment in seen
             if first + unit < moment < seconds - 0.1 - unit]
    assert all(abs(one - other) <= unit + 1e-6 for one, other in pairs), (pairs, unit)
    return len(pairs)


@pytest.mark.slow
def test_flash_and_tone_are_together_in_a_thousand_windows(folder: Path) -> None:
    rng = np.random.default_rng(2)
    info = {name: probe(folder / 'clap' / name) for name in FILES}
    compared = 0
    for _ in range(1000):
        name = str(rng.choice(list(FILES)))
        found = info[name]
        start = float(rng.uniform(0, SECONDS - 3.2))
        end = start + float(rng.uniform(1.5, 3.0))
        fps, hop_ms = float(rng.uniform(8, 60)), float(rng.choice([5, 10, 16, 20]))
        rate = int(rng.choice([8000, 16000, 22050]))
        row = ClipInfo(name, 'train', name, start, end, end - start, found.fps, found.width, found.height,
                       found.audio_rate)
        pictures, = Rgb(fps=fps, short_side=16).read(folder / 'clap' / name, row)
        audio = Audio(audio_rate=rate, hop_ms=hop_ms, window_ms=hop_ms, fmin=300.0, fmax=3800.0, bands=16)
        sounds, = audio.read(folder / 'clap' / name, row)
        heard = _power(sounds)
        if heard.max() > 0.01 and pictures.max() > 100:
            try:
                compared += _check(pictures, heard, fps, audio.rate, start, 1.5 * (name == 'sound_late.mp4'))
            except (AssertionError, ValueError) as error:
                raise AssertionError(f'{name} from {start} to {end}, {fps} pictures/s, {hop_ms} ms, '
                                     f'{rate} Hz: {error}') from error
    assert compared > 2000


def test_flash_and_tone_are_together_in_a_store(folder: Path, tmp_path: Path) -> None:
    audio = Audio(hop_ms=10.0, window_ms=10.0, fmin=300.0)
    prepare(sources.read(str(folder)), tmp_path, [Rgb(fps=25, short_side=16), audio], origin='clap', processes=2,
            progress=False)
    store = Store(tmp_path)
    assert len(store.values('path')) == len(FILES)
    assert set(store.columns['rgb'].lengths / 25 * 100 - store.columns['audio'].lengths) <= {-3, -2, -1, 0, 1, 2, 3}
