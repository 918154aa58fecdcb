import csv
import dataclasses
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from tests.media.damage import KINDS, damaged
from tests.media.files import counting_frames, write_media
from vmmjax.media import budget
from vmmjax.media.audio import read_waveform
from vmmjax.media.container import MediaError
from vmmjax.media.limits import isolated
from vmmjax.media.probe import probe
from vmmjax.media.video import read_frames
from vmmjax.prepare import sources
from vmmjax.prepare.build import prepare
from vmmjax.prepare.columns import Audio, Rgb
from vmmjax.store.catalog import ClipInfo
from vmmjax.store.store import Store

TONE = (0.5 * np.sin(np.arange(32000) / 5)).astype(np.float32)


def _prepare(folder: Path, store: Path, *columns: object) -> tuple[set[str], dict[str, str]]:
    """Prepares a folder; the names in the catalog, and the reason for every rejected one."""
    prepare(sources.read(str(folder)), store, columns, origin='damaged', processes=2, progress=False)
    with open(store / 'rejected.csv', newline='', encoding='utf-8') as file:
        rejected = {line['path']: line['reason'] for line in csv.DictReader(file)}
    return set(Store(store).values('path').tolist()), rejected


def _check_all(originals: list[Path], tmp_path: Path, count: int) -> None:
    folder = tmp_path / 'files' / 'class'
    folder.mkdir(parents=True)
    names = {f'class/{damaged(originals, folder, number).name}' for number in range(count)}
    assert len(names) == count
    began = time.monotonic()
    listed, rejected = _prepare(folder.parent, tmp_path / 'store', Rgb(fps=5, short_side=48), Audio())
    assert time.monotonic() - began < 60 + count
    assert listed | set(rejected) == names
    assert all(len(reason) > 10 for reason in rejected.values())
    assert not any('crashes' in reason or 'come to an end' in reason for reason in rejected.values()), rejected
    store = Store(tmp_path / 'store')
    # What is in the catalog was read, or stands in rejected.csv with the column it failed in.
    for name, rgb, sound, fps, rate, duration, pictures in zip(
            store.values('path'), store.columns['rgb'].lengths, store.columns['audio'].lengths,
            *(store.values(key) for key in ('fps', 'audio_rate', 'duration', 'picture_end')), strict=True):
        if name not in rejected:
            assert not fps or rgb == max(1, round(float(pictures) * 5)), name
            assert not rate or sound > 0 or float(duration) < 0.02, name
        assert float(duration) < 200, name
    print(f'{count} damaged files: {len(listed - set(rejected))} read, {len(rejected)} rejected')


def test_damaged_files_are_read_or_rejected_with_a_reason(shared_data: Path, tmp_path: Path) -> None:
    originals = [path for path in sorted((shared_data / 'clips').iterdir()) if path.stat().st_size < 800_000]
    _check_all(originals, tmp_path, 10 * len(KINDS))


@pytest.mark.slow
def test_a_thousand_damaged_files(shared_data: Path, tmp_path: Path) -> None:
    _check_all(sorted((shared_data / 'clips').iterdir()), tmp_path, 8 * 14 * len(KINDS))


@dataclasses.dataclass(frozen=True)
class Faulty:
    """On some files it does what a damaged file may make FFmpeg do."""

    name: ClassVar[str] = 'faulty'
    kind: ClassVar[str] = 'array'
    rate: ClassVar[float] = 10.0
    shape: ClassVar[tuple[int, ...]] = (1,)

    def read(self, path: Path, clip: ClipInfo) -> Iterator[np.ndarray]:
        if path.stem == 'crash':
            os.kill(os.getpid(), signal.SIGSEGV)
        elif path.stem == 'hang':
            budget.CALL_SECONDS = 0.3
            budget.begin(0)
            with budget.spent():
                re.match('(a*)*b', 'a' * 60)  # In C, for ages.
        elif path.stem == 'greedy':
            np.ones(1 << 60, np.uint8)
        yield np.ones((10, 1), np.float32)


def test_a_file_that_crashes_or_hangs_costs_only_itself(tmp_path: Path) -> None:
    folder = tmp_path / 'files' / 'class'
    folder.mkdir(parents=True)
    for name in ('a', 'crash', 'b', 'hang', 'c', 'greedy', 'd'):
        write_media(folder / f'{name}.mp4', counting_frames(10))
    listed, rejected = _prepare(folder.parent, tmp_path / 'store', Faulty())
    assert len(listed) == 7
    assert rejected == {'class/crash.mp4': 'faulty: reading it crashes FFmpeg (SIGSEGV)',
                        'class/hang.mp4': 'faulty: FFmpeg does not come to an end with it',
                        'class/greedy.mp4': 'faulty: there is not enough memory to read it'}
    store = Store(tmp_path / 'store')
    lengths = dict(zip(store.values('path'), store.columns['faulty'].lengths, strict=True))
    assert [lengths[f'class/{name}.mp4'] for name in ('a', 'b', 'c', 'd', 'crash', 'hang')] == [10] * 4 + [0] * 2


@pytest.mark.parametrize('suffix', ['mp4', 'mkv'])
def test_an_absurd_length_is_rejected(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f'long.{suffix}'
    write_media(path, counting_frames(20), [*range(0, 720, 40), 36_000_000, 36_000_040])
    with pytest.raises(MediaError, match=r'claims to last 36000 s, but nothing is shown or heard for 35999 s'):
        probe(path)


def test_still_pictures_under_long_sound_are_fine(tmp_path: Path) -> None:
    path = tmp_path / 'slides.mkv'
    write_media(path, counting_frames(3, side=16), [0, 150_000, 300_000], waveform=np.zeros(301 * 8000, np.float32),
                rate=8000)
    assert probe(path).picture_end == pytest.approx(300, abs=0.2)
    assert probe(path).duration == pytest.approx(301, abs=0.2)


def _memory_after_rounds(originals: list[Path], folder: Path, rounds: int) -> Iterator[list[int]]:
    """Reads damaged files again and again; MiB in use after each round."""
    paths = [damaged(originals, folder, number) for number in range(5 * len(KINDS))]
    used = []
    for _ in range(rounds):
        for path in paths:
            try:
                info = probe(path)
                end = min(info.duration, 1.0)
                if info.fps is not None:
                    read_frames(path, start=0, end=end, fps=10, short_side=48)
                read_waveform(path, start=0, end=end, rate=16000)
            except MediaError:
                pass
        used.append(int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') >> 20)
    yield used


@pytest.mark.slow
def test_reading_damaged_files_leaks_no_memory(tmp_path: Path) -> None:
    write_media(tmp_path / 'a.mp4', np.random.default_rng(0).integers(0, 256, (25, 240, 320, 3), np.uint8),
                waveform=TONE[:16000], options={'preset': 'ultrafast'})
    write_media(tmp_path / 'b.mkv', np.random.default_rng(0).integers(0, 256, (25, 240, 320, 3), np.uint8),
                waveform=TONE[:16000], options={'preset': 'ultrafast'}, sound_codec='pcm_s16le')
    originals = [tmp_path / 'a.mp4', tmp_path / 'b.mkv']
    (tmp_path / 'damaged').mkdir()
    used, = isolated(tmp_path, _memory_after_rounds, originals, tmp_path / 'damaged', 9)
    # One decoded picture leaked a file would be 30 MiB in 6 rounds; what is freed leaves holes, some MiB.
    assert used[8] - used[2] < 25, used
