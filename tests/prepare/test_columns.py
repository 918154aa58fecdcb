from pathlib import Path

import cv2
import numpy as np
import pytest

from vmmjax.errors import UserError
from vmmjax.media import container, flow, video
from vmmjax.media.writer import write_clip
from vmmjax.prepare import catalog_builder, columns, encoding, sources
from vmmjax.store import catalog
from vmmjax.store.catalog import ClipInfo


@pytest.fixture(scope='module')
def long_clip(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ClipInfo]:
    """23.4 s of 16 x 12 pictures that move: more than one piece."""
    path = tmp_path_factory.mktemp('long') / 'long.mp4'
    rng = np.random.default_rng(0)
    texture = cv2.GaussianBlur(rng.integers(0, 256, (24, 300, 3)).astype(np.float32), (0, 0), 1.5)
    texture = cv2.normalize(texture, None, 0, 255, cv2.NORM_MINMAX).astype(np.uint8)
    frames = np.stack([texture[:, i:i + 32] for i in range(234)])
    write_clip(path, frames, fps=10, waveform=0.1 * rng.standard_normal(187200).astype(np.float32), rate=8000)
    return path, _row(23.4)


def _row(end: float, start: float = 0.0, *, pictures: bool = True, sound: bool = True) -> ClipInfo:
    return ClipInfo('long.mp4', 'train', 'x', start, end, end - start, 10.0 if pictures else None,
               32 if pictures else None, 24 if pictures else None, 8000 if sound else None)


def test_pieces_of_a_long_clip_are_the_whole(long_clip: tuple[Path, ClipInfo]) -> None:
    path, clip = long_clip
    rgb = columns.Rgb(fps=10, short_side=24)
    pieces = list(rgb.read(path, clip))
    assert [len(piece) for piece in pieces] == [160, 74]
    whole = video.read_frames(path, start=0, end=23.4, fps=10, short_side=24)
    np.testing.assert_array_equal(np.concatenate(pieces), whole)
    codes = np.concatenate(list(columns.Flow(fps=10, short_side=24).read(path, clip)))
    np.testing.assert_array_equal(codes, flow.encode(flow.motion(whole, flow.farneback)))
    assert np.median(flow.decode(codes)[..., 0]) == pytest.approx(-1, abs=0.3)  # The texture goes left.


@pytest.mark.parametrize('end', [16.0, 16.1, 16.2])
def test_the_last_motion_repeats_the_one_before_wherever_pieces_end(long_clip: tuple[Path, ClipInfo],
                                                                           end: float) -> None:
    path, _ = long_clip
    codes = np.concatenate(list(columns.Flow(fps=10, short_side=24).read(path, _row(end))))
    whole = video.read_frames(path, start=0, end=end, fps=10, short_side=24)
    np.testing.assert_array_equal(codes, flow.encode(flow.motion(whole, flow.farneback)))
    np.testing.assert_array_equal(codes[-1], codes[-2])


def test_a_long_clip_is_decoded_once(long_clip: tuple[Path, ClipInfo], monkeypatch: pytest.MonkeyPatch) -> None:
    path, clip = long_clip
    decoded = []
    monkeypatch.setattr(video, 'decode', lambda packet: decoded.append(1) or container.decode(packet))
    list(columns.Rgb(fps=10, short_side=24).read(path, clip))
    assert len(decoded) < 240  # Packets; there are 234, and the empty one at the end.


def test_flow_of_the_source_is_resized(long_clip: tuple[Path, ClipInfo]) -> None:
    path, clip = long_clip
    column = columns.Flow(fps=10, short_side=12, flow='dis', flow_on='source')
    pieces = list(column.read(path, clip))
    assert [piece.shape for piece in pieces] == [(159, 12, 16, 2), (74, 12, 16, 2), (1, 12, 16, 2)]
    whole = video.read_frames(path, start=0, end=23.4, fps=10, short_side=24)
    expected = flow.encode(flow.resize(flow.motion(whole, flow.dis), width=16, height=12))
    np.testing.assert_array_equal(np.concatenate(pieces), expected)
    # The texture goes a pixel to the left, of the source's.
    assert np.median(flow.decode(np.concatenate(pieces))[..., 0]) == pytest.approx(-0.5, abs=0.1)


def count_up(grey: np.ndarray) -> np.ndarray:
    return np.broadcast_to(np.arange(len(grey) - 1, dtype=np.float32)[:, None, None, None] / 10,
                           (len(grey) - 1, *grey.shape[1:], 2))


def test_an_algorithm_may_be_ones_own(long_clip: tuple[Path, ClipInfo]) -> None:
    path, _ = long_clip
    column = columns.Flow(fps=10, short_side=24, flow=f'{__name__}:count_up')
    codes = np.concatenate(list(column.read(path, _row(1.0))))
    np.testing.assert_array_equal(codes[:, 0, 0, 0], flow.encode(np.float32([*range(9), 8]) / 10))


def test_a_row_may_be_a_part_of_a_file(long_clip: tuple[Path, ClipInfo]) -> None:
    path, _ = long_clip
    part = np.concatenate(list(columns.Rgb(fps=10, short_side=24).read(path, _row(7.0, 5.0))))
    np.testing.assert_array_equal(part, video.read_frames(path, start=5, end=7, fps=10, short_side=24))


def test_audio_frames_follow_the_rate(long_clip: tuple[Path, ClipInfo]) -> None:
    path, clip = long_clip
    audio = columns.Audio(audio_rate=8000, hop_ms=10, bands=20, fmax=3800.0)
    assert audio.rate == 100
    frames, = audio.read(path, clip)
    assert frames.shape == (2340, 20)
    assert frames.dtype == np.float32
    assert columns.Audio(audio_rate=22050, hop_ms=10).rate == 22050 / 220


def test_what_a_clip_lacks_gives_nothing(long_clip: tuple[Path, ClipInfo]) -> None:
    path, _ = long_clip
    assert list(columns.Rgb().read(path, _row(1.0, pictures=False))) == []
    assert list(columns.Flow().read(path, _row(1.0, pictures=False))) == []
    assert list(columns.Audio().read(path, _row(1.0, sound=False))) == []


def test_pictures_are_stored_as_jpeg_and_flow_as_png() -> None:
    picture = np.zeros((2, 16, 24, 3), np.uint8)
    picture[..., 0] = 200  # Red, to see the order of the channels.
    decoded = cv2.imdecode(np.frombuffer(encoding.encode('picture', picture)[1], np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_allclose(decoded, picture[1], atol=2)
    codes = np.random.default_rng(0).integers(0, 256, (2, 16, 24, 2), np.uint8)
    decoded = cv2.imdecode(np.frombuffer(encoding.encode('flow', codes)[1], np.uint8), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(decoded, np.concatenate([codes[1, ..., 0], codes[1, ..., 1]], axis=1))


@pytest.mark.parametrize(('make', 'said'), [
    (lambda: columns.Rgb(fps=0), 'fps'),
    (lambda: columns.Flow(short_side=0), 'short_side'),
    (lambda: columns.Flow(flow='farnebeck'), "did you mean 'farneback'"),
    (lambda: columns.Flow(flow_on='original'), 'resized or source'),
    (lambda: columns.Audio(hop_ms=-1), 'hop_ms'),
    (lambda: columns.Audio(audio_rate=8000), '4000'),
])
def test_options_out_of_range(make: object, said: str) -> None:
    with pytest.raises(UserError, match=said):
        make()  # type: ignore[operator]


def test_real_clips(shared_data: Path, tmp_path: Path) -> None:
    clips = sources.read(str(shared_data / 'grid' / 'manifest.csv'))[:2]
    catalog_builder.build(clips, tmp_path, 1, progress=False)
    rows = catalog.read(tmp_path)
    for i, clip in enumerate(clips):
        pictures = np.concatenate(list(columns.Rgb(fps=25, short_side=64).read(clip.path, rows[i])))
        sound = np.concatenate(list(columns.Audio().read(clip.path, rows[i])))
        assert pictures.shape == (round((rows[i].picture_end - rows[i].start) * 25), 64, 64, 3)
        assert sound.shape[0] == pytest.approx(rows[i].duration * 100, abs=1)
        assert pictures.std() > 20
        assert sound.std() > 0.5
