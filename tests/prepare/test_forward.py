"""A clip that is read forward has the records of one that lies in memory, in whatever order they are asked for."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import fakes
from tests.media.files import counting_frames, write_media
from vmmjax.media import limits
from vmmjax.media.probe import MediaError
from vmmjax.prepare import forward, records, shards
from vmmjax.prepare.columns import Audio, ColumnBuilder, Flow, Rgb, Waveform
from vmmjax.store.catalog import ClipInfo

CLIP = ClipInfo('a.mp4', '', '', 0.3, 3.5, 3.2, 25.0, 64, 64, 16000)


@pytest.fixture(scope='module')
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp('forward') / 'a.mp4'
    sound = 0.1 * np.random.default_rng(0).standard_normal(4 * 16000).astype(np.float32)
    write_media(path, counting_frames(60), waveform=sound, times_ms=[60 * i for i in range(60)])
    return path


def _whole(column: ColumnBuilder, path: Path) -> tuple[list[bytes], int]:
    frames, _ = shards.read(column, path, CLIP)
    return list(records.of_clip(frames, 7, records.chunk_frames(column.kind, column.rate))), len(frames)


@pytest.mark.parametrize('column', [
    Rgb(fps=10, short_side=24), Flow(fps=10, short_side=24, flow='dis'), Waveform(audio_rate=8000), Audio(),
    Audio(front_end='panns_32k')], ids=lambda column: f'{column.name} {column.rate:g}')
def test_slides_as_in_memory_and_reads_once(column: ColumnBuilder, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    expected, length = _whole(column, path)
    assert column.count(CLIP) == length
    begun = []
    monkeypatch.setattr(forward, 'Reader', lambda: begun.append(1) or limits.Reader())
    found = forward.Forward(column, path, CLIP, 7, length)
    window = max(1, len(expected) // 4)
    for first in range(0, len(expected) - window + 1, max(1, window // 2)):
        for _ in range(2):  # Two streams.
            wanted = np.arange(first, first + window)
            assert found.read(wanted) == [expected[index] for index in wanted]
    assert len(begun) == 1
    assert found.read(np.array([0])) == expected[:1]
    assert len(begun) == (1 if len(expected) <= 4 * window else 2), 'what is kept no longer is read again'


@given(st.lists(st.lists(st.integers(0, 31), min_size=1, max_size=5), max_size=6))
@settings(max_examples=20, deadline=None)
def test_any_order(asked: list[list[int]]) -> None:
    column, clip = fakes.Ramp(), ClipInfo('7.mp4', '', '', 0.0, 320.0, 320.0, None, None, None, None)
    parts = [np.arange(20.0, dtype=np.float32).reshape(10, 2) + 20 * place for place in range(32)]

    class Parts:
        def items(self, *_: object) -> object:
            return ((part, (0, 0)) for part in parts)

    reader, forward.Reader = forward.Reader, Parts
    try:
        found = forward.Forward(column, Path('7.mp4'), clip, 0, 320)
        for wanted in asked:
            for record, index in zip(found.read(np.array(wanted)), wanted, strict=True):
                np.testing.assert_array_equal(_numbers(record), parts[index])
        assert len(found._held) <= max(1, 4 * max(1, *(max(wanted) - min(wanted) + 1 for wanted in [*asked, [0]])))
    finally:
        forward.Reader = reader


def _numbers(record: bytes) -> np.ndarray:
    from vmmjax.store import records as stored

    return stored.numbers(record, (2,))


def test_a_file_with_less_than_it_said(path: Path) -> None:
    column = Rgb(fps=10, short_side=24)
    found = forward.Forward(column, path, CLIP, 0, 99)
    with pytest.raises(MediaError, match='its rgb ends before its length says'):
        found.read(np.array([40]))
