import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmmjax.pipeline import sampling
from vmmjax.pipeline.views import ViewsConfig

MIDDLE = np.full(1, 0.5)
rows_strategy = st.one_of(st.integers(1, 63), st.integers(64, 3000))


@given(rows=rows_strategy, seed=st.integers(0, 2**31 - 1), epoch=st.integers(0, 1000))
def test_every_row_once_an_epoch(rows: int, seed: int, epoch: int) -> None:
    positions = epoch * rows + np.arange(rows)
    order = sampling.shuffled_rows(positions, rows, seed)
    np.testing.assert_array_equal(np.sort(order), np.arange(rows))


@given(rows=rows_strategy, cut=st.integers(1, 50))
def test_order_does_not_depend_on_the_batch(rows: int, cut: int) -> None:
    positions = np.arange(3 * rows - 5 if rows > 5 else rows)
    whole = sampling.shuffled_rows(positions, rows, 3)
    parts = [sampling.shuffled_rows(part, rows, 3) for part in np.array_split(positions, cut) if len(part)]
    np.testing.assert_array_equal(whole, np.concatenate(parts))


@pytest.mark.parametrize('rows', [10, 63, 64, 65, 100, 1600])
def test_epochs_and_seeds_have_orders_of_their_own(rows: int) -> None:
    orders = [sampling.shuffled_rows(np.arange(epoch * rows, (epoch + 1) * rows), rows, seed)
              for epoch in range(4) for seed in range(4)]
    assert len({order.tobytes() for order in orders}) == len(orders)
    for order in orders:  # Neither the order of the split nor nearly.
        assert abs(np.corrcoef(order, np.arange(rows))[0, 1]) < 4 / np.sqrt(rows - 1)


def test_draws_are_keyed_by_seed_position_and_name() -> None:
    positions = np.array([5, 1, 2**40])
    draws = sampling.uniform(7, positions, 'crop', 3)
    np.testing.assert_array_equal(draws[1:], sampling.uniform(7, positions[1:], 'crop', 3))
    key, counter = np.array([7, 1], np.uint64), np.array([0, 0, 0, zlib.crc32(b'crop')], np.uint64)
    alone = np.random.Philox(key=key, counter=counter)
    np.testing.assert_array_equal(draws[1], np.random.Generator(alone).random(3))
    np.testing.assert_array_equal(draws[:, :2], sampling.uniform(7, positions, 'crop', 2))
    others = [draws, sampling.uniform(8, positions, 'crop', 3), sampling.uniform(7, positions, 'flip', 3),
              sampling.uniform(7, positions + 1, 'crop', 3)]
    assert len(np.unique(np.stack(others))) == 4 * 9
    many = sampling.uniform(0, np.arange(4000), 'window', 2)
    np.testing.assert_allclose(many.mean(axis=0), 0.5, atol=0.03)
    assert abs(np.corrcoef(many.T)[0, 1]) < 0.06
    assert abs(np.corrcoef(many[:-1, 0], many[1:, 0])[0, 1]) < 0.06


def test_windows_lie_inside_the_clip() -> None:
    durations = np.array([5.0, 5.0, 5.0, 1.0])
    draws = np.array([0.0, 0.5, 0.999, 0.7])
    np.testing.assert_allclose(sampling.window_starts(draws, durations, 2.0, None), [0, 1.5, 2.997, 0])
    np.testing.assert_allclose(sampling.window_starts(draws, durations, 2.0, (0.5, 1.5)), [0.5, 1, 1.499, 1.2])


def test_dense_takes_the_frame_on_at_the_centre_of_each_part() -> None:
    places = sampling.dense(np.zeros((1, 4)), True, MIDDLE)
    np.testing.assert_allclose(places, [[0.125, 0.375, 0.625, 0.875]])
    # 2 s at 25 a second from 1 s on: instants 1.25, 1.75, 2.25, 2.75.
    np.testing.assert_array_equal(sampling.sampled_frames(np.ones(1), 2.0, places, 25.0), [[31, 43, 56, 68]])


@given(rate=st.sampled_from([5.0, 10.0, 12.5, 25.0, 30.0, 29.97]), start=st.integers(0, 100),
       frames=st.integers(1, 64))
def test_as_many_frames_as_the_window_has_are_each_taken_once(rate: float, start: int, frames: int) -> None:
    starts = np.array([start / rate])
    places = sampling.dense(np.zeros((1, frames)), True, MIDDLE)
    taken = sampling.sampled_frames(starts, frames / rate, places, rate)
    np.testing.assert_array_equal(taken[0], start + np.arange(frames))
    np.testing.assert_array_equal(sampling.all_frames(starts, frames / rate, rate), taken)


@given(st.integers(1, 32), st.integers(0, 10**6))
def test_segments_take_one_instant_in_each_part(frames: int, position: int) -> None:
    draws = sampling.uniform(0, np.array([position]), 'frames', frames)
    parts = np.floor(sampling.segments(draws, True, MIDDLE) * frames + 1e-9)
    np.testing.assert_array_equal(parts[0], np.arange(frames))
    np.testing.assert_array_equal(sampling.segments(draws, False, MIDDLE), sampling.dense(draws, False, MIDDLE))


def test_shuffled_takes_the_same_instants_in_another_order() -> None:
    draws = sampling.uniform(0, np.arange(200), 'frames', 8)
    places, dense = (kind(draws, False, np.full(200, 0.5)) for kind in (sampling.shuffled, sampling.dense))
    np.testing.assert_array_equal(np.sort(places, axis=1), dense)
    # Any instant is as likely in any place.
    np.testing.assert_allclose(places.mean(axis=0), 0.5, atol=0.09)


def _test_frames(frames: int, samples: int, *, kind: str = 'segments', window: int = 0, clips: int = 1,
                 fps: float = 25.0) -> list[list[int]]:
    """The frames of each test clip of a video, as the pipeline asks for them."""
    views = ViewsConfig(clips=clips)
    number = np.arange(clips)
    durations = np.full(clips, frames / fps)
    seconds = np.full(clips, window / fps) if window else durations
    starts = sampling.window_starts(views.windows(number), durations, seconds, None)
    within = np.full(clips, 0.5) if window else views.within(number)
    places = sampling.SAMPLINGS[kind](np.zeros((clips, samples)), False, within)
    return sampling.sampled_frames(starts, seconds, places, fps).tolist()


@pytest.mark.parametrize('fps', [25.0, 29.97, 12.5])
def test_segments_of_a_whole_clip_are_the_published_ones(fps: float) -> None:
    # TSN's and TSM's test frames of 100 (they count from 1), and those of the twice-sample.
    uniform, shifted = [6, 18, 31, 43, 56, 68, 81, 93], [0, 12, 25, 37, 50, 62, 75, 87]
    assert _test_frames(100, 8, fps=fps) == [uniform]
    assert _test_frames(100, 8, clips=2, fps=fps) == [uniform, shifted]


def test_dense_windows_are_the_published_ones() -> None:
    # 32 frames, every second, from the middle of 300.
    assert _test_frames(300, 32, kind='strided', window=64) == [list(range(118, 181, 2))]
    # Ten clips from the first to the last that fits (TSM, non-local networks): linspace(0, 236, 10), cut off.
    ten = _test_frames(300, 32, kind='strided', window=64, clips=10)
    assert [clip[0] for clip in ten] == [0, 26, 52, 78, 104, 131, 157, 183, 209, 236]
    assert [clip[1] - clip[0] for clip in ten] == [2] * 10
    # TSM's dense sampling: 8 frames, every eighth of 64.
    tsm = _test_frames(300, 8, kind='strided', window=64, clips=10)
    assert tsm[1] == list(range(26, 90, 8))
    # A clip of 40 frames: published code begins again from its start, here what is past the end is masked.
    assert _test_frames(40, 32, kind='strided', window=64) == [list(range(0, 64, 2))]


def test_random_instants_are_in_order_and_anywhere() -> None:
    draws = sampling.uniform(0, np.arange(500), 'frames', 4)
    places = sampling.independent(draws, True, np.full(500, 0.5))
    assert (np.diff(places, axis=1) >= 0).all()
    assert places.min() < 0.01
    assert places.max() > 0.99
    np.testing.assert_array_equal(sampling.independent(draws, False, np.full(500, 0.5))[0],
                                  sampling.dense(draws[:1], False, MIDDLE)[0])


@given(st.lists(st.floats(0.02, 0.3), min_size=1, max_size=3), st.integers(0, 10**6), st.integers(1, 200))
def test_of_several_lists_each_has_its_share_of_any_positions_in_a_row(others, first, count):
    shares = [1 - sum(others), *others]
    lists = [(np.arange(30) + 100 * place, share) for place, share in enumerate(shares)]
    rows = sampling.dealt_rows(np.arange(first, first + count), lists, 3)
    for place, share in enumerate(shares):
        assert abs((rows // 100 == place).sum() - share * count) < len(shares)


def test_rows_of_several_lists_depend_on_their_position_alone_and_each_is_gone_through_evenly():
    lists = [(np.arange(10), 0.75), (np.arange(100, 104), 0.25)]
    rows = sampling.dealt_rows(np.arange(160), lists, 0)
    np.testing.assert_array_equal(sampling.dealt_rows(np.arange(40, 60), lists, 0), rows[40:60])
    found, counts = np.unique(rows, return_counts=True)
    assert dict(zip(found.tolist(), counts.tolist(), strict=True)) == {
        **dict.fromkeys(range(10), 12), **dict.fromkeys(range(100, 104), 10)}
    np.testing.assert_array_equal(sampling.dealt_rows(np.arange(50), lists[:1], 7),
                                  sampling.shuffled_rows(np.arange(50), 10, 7))
