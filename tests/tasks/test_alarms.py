import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from vmmjax.tasks.alarms import Rules, Span, Timeline, Tracker, alarms, timeline


def moments(*values, length=1.0):
    return [Span(i * length, (i + 1) * length, value) for i, value in enumerate(values)]


def test_an_alarm_begins_high_and_ends_low():
    found = alarms(moments(.2, .4, .9, .4, .1, .4, .4, .1, .8), Rules(.7, .3))
    assert found == [Span(1, 4, .9), Span(8, 9, .8)]


def test_short_alarms_are_dropped():
    assert alarms(moments(.9, 0, .9, .9), Rules(.5, .5, minimum=2)) == [Span(2, 4, .9)]


def test_what_was_not_seen_parts_alarms():
    assert len(alarms([Span(0, 1, .9), Span(1.5, 2, .9)], Rules(.5, .5))) == 2
    assert len(alarms([Span(0, 1, .9), Span(1.00001, 2, .9)], Rules(.5, .5))) == 1


@given(st.lists(st.floats(0, 1), max_size=30), st.floats(0, 1), st.floats(0, 1))
def test_every_high_moment_is_in_one_alarm_and_no_low_one(values, one, other):
    low, high = sorted((one, other))
    found = alarms(moments(*values), Rules(high, low))
    for moment in moments(*values):
        around = sum(span.meets(moment) for span in found)
        assert around == 1 or moment.value < high
        assert around == 0 or moment.value >= low


def test_windows_that_overlap_are_averaged():
    found = timeline(np.array([[.2, .4], [.8, 1.]]), np.ones((2, 2), bool), np.array([[0, 2.], [1, 2.]]))
    assert [(span.start, span.end) for span in found] == [(0, 1), (1, 2), (2, 3)]
    assert [span.value for span in found] == pytest.approx([.2, .6, 1.])


def test_moments_without_a_token_are_left_out():
    found = timeline(np.array([[.2, .4, .6]]), np.array([[True, False, True]]), np.array([[10, 3.]]))
    assert [(span.start, span.end) for span in found] == [(10, 11), (12, 13)]
    assert timeline(np.zeros((1, 2)), np.zeros((1, 2), bool), np.array([[0, 1.]])) == []
    padded = timeline(np.array([[.2], [.4]]), np.ones((2, 1), bool), np.array([[0, 2.], [2, 2.]]), end=3.0)
    assert [(moment.start, moment.end) for moment in padded] == [(0, 2), (2, 3)]


@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_a_timeline_is_what_every_token_says_of_every_moment(count, tokens, seed):
    rng = np.random.default_rng(seed)
    windows = np.stack([rng.uniform(0, 5, count), rng.uniform(.5, 3, count)], 1)
    values, mask = rng.uniform(size=(count, tokens)), rng.uniform(size=(count, tokens)) < .8
    found = timeline(values, mask, windows)
    for moment in rng.uniform(0, 8, 50):
        places = np.floor((moment - windows[:, 0]) / windows[:, 1] * tokens).astype(int)
        seen = [values[i, place] for i, place in enumerate(places) if 0 <= place < tokens and mask[i, place]]
        told = [span.value for span in found if span.start <= moment < span.end]
        edges = np.concatenate([windows[:, :1] + windows[:, 1:] * np.arange(tokens + 1) / tokens])
        if np.abs(edges - moment).min() > 1e-3:
            assert told == pytest.approx([np.mean(seen)] if seen else [])


def test_after_an_alarm_none_begins_for_a_while():
    values = moments(.9, 0, .9, .9, .9, 0, .9)
    assert alarms(values, Rules(.5, .5, cool_down=2)) == [Span(0, 1, .9), Span(3, 5, .9)]
    assert len(alarms(values, Rules(.5, .5, cool_down=1))) == 3
    assert alarms(values, Rules(.5, .5, minimum=2, cool_down=9)) == [Span(2, 5, .9)], 'what is no alarm delays none'


def test_an_alarm_is_one_as_soon_as_it_is_high_and_long_enough():
    tracker, seen = Tracker(Rules(.7, .3, minimum=2)), []
    for moment in moments(.4, .8, .4, .1):
        ended = tracker.add(moment)
        seen.append((tracker.alarm, ended))
    assert seen == [(None, None), (Span(0, 2, .8), None), (Span(0, 3, .8), None), (None, Span(0, 3, .8))]


def test_what_is_no_number_is_no_alarm():
    values = moments(.9, float('nan'), .9, float('nan'))
    assert alarms(values, Rules(.5, .5)) == [Span(0, 1, .9), Span(2, 3, .9)]


def test_time_at_which_nobody_looked_neither_ends_nor_begins_an_alarm():
    tracker = Tracker(Rules(.5, .5))
    tracker.pass_over(0, 1)
    assert tracker.alarm is None
    tracker.add(Span(1, 2, .9))
    tracker.pass_over(2, 5)
    assert tracker.alarm == Span(1, 2, .9)
    assert tracker.add(Span(5, 6, .9)) is None
    assert tracker.alarm == Span(1, 6, .9)
    tracker.pass_over(6, 8)
    assert tracker.add(Span(8, 9, .1)) == Span(1, 6, .9)
    tracker.add(Span(9, 10, .9))
    tracker.pass_over(11, 12)
    assert tracker.add(Span(12, 13, .9)) == Span(9, 10, .9), 'from 10 to 11 somebody has looked'


@given(st.integers(1, 6), st.integers(1, 4), st.sampled_from([.25, .5, 1., 1.5]), st.integers(0, 99))
def test_moments_while_windows_come_are_those_of_all_windows(count, tokens, stride, seed):
    rng = np.random.default_rng(seed)
    values, mask = rng.uniform(size=(count, tokens)), rng.uniform(size=(count, tokens)) < .8
    windows = np.stack([stride * np.arange(count), np.ones(count)], 1)
    live, found = Timeline(), []
    for each, there, (start, length) in zip(values, mask, windows, strict=True):
        found += live.add(each, there, start, length, start + stride)
    found += live.flush()
    expected = timeline(values, mask, windows)
    # Moments may be cut where a window might have begun.
    for rules in (Rules(.5, .3), Rules(.8, .8), Rules(.2, .1)):
        for one, other in zip(alarms(found, rules), alarms(expected, rules), strict=True):
            assert one == pytest.approx(other)
