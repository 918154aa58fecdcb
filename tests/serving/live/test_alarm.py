import numpy as np
import pytest

from vmmjax.serving.live.alarm import Alarm, Follower, to_each
from vmmjax.tasks.alarms import Levels, Rules


def level(*values):
    """Of one window; None is masked."""
    return Levels(np.array([[value or 0.0 for value in values]]), np.array([[value is not None for value in values]]))


def followed(windows, stride=1.0, length=1.0, finish=True, rules=Rules(.5, .5)):  # noqa: B008 - it cannot be changed.
    """Messages (state, start, end) for windows {number: level or levels}."""
    follower, found = Follower('door', 'fight', rules, wall=0.0, speed=1.0), []
    for number, seen in windows.items():
        levels = seen if isinstance(seen, list) else [seen]
        found += follower.judged(levels, number * stride, length, (number + 1) * stride, ['rgb'])
    return [(alarm.state, alarm.start, alarm.end) for alarm in found + (follower.finish() if finish else [])]


def test_an_alarm_is_told_of_while_it_lasts():
    found = followed({number: level(.9) for number in range(25)} | {25: level(.1)})
    assert found == [('start', 0, 1), ('update', 0, 11), ('update', 0, 21), ('end', 0, 25)]


def test_an_alarm_that_lasts_is_ended_with_the_connection():
    assert followed({0: level(.1, .9)}) == [('start', .5, 1), ('end', .5, 1)]
    assert followed({0: level(.1, .9)}, finish=False) == [('start', .5, 1)]


def test_windows_that_were_not_judged_end_no_alarm():
    assert followed({0: level(.9), 4: level(.9), 5: level(.1)}) == [('start', 0, 1), ('end', 0, 5)]
    assert followed({0: level(.9), 4: level(.1)}) == [('start', 0, 1), ('end', 0, 1)]
    assert len(followed({0: level(.9), 50: level(.9)})) == 4, 'after half a minute nobody knows'


def test_what_a_window_does_not_tell_ends_an_alarm_as_in_evaluation():
    assert len(followed({0: level(.9, None, .9, .9)})) == 4
    assert len(followed({0: level(.9, None), 3: level(.9, .9)})) == 4


def test_windows_that_overlap_are_averaged():
    # 0 to 1 is seen once, then everything twice.
    found = followed({0: level(.9, .9), 1: level(.3, .3), 2: level(.1, .1)}, length=2.0)
    assert found == [('start', 0, 1), ('end', 0, 2)]
    found = followed({0: level(.9, .9), 1: level(.0, .3), 2: level(.1, .1)}, length=2.0)
    assert found == [('start', 0, 1), ('end', 0, 1)]


def test_views_of_a_window_are_averaged():
    assert followed({0: [level(.9), level(.3)]}) == [('start', 0, 1), ('end', 0, 1)]
    assert followed({0: [level(.9), level(.0)]}) == []


def test_the_time_of_a_start_is_that_of_the_clock():
    follower = Follower('door', 'fight', Rules(), wall=1000.0, speed=2.0)
    (message,) = follower.judged([level(.9)], 30.0, 1.0, 31.0, ['rgb', 'audio'])
    assert message.time == '1970-01-01T00:16:55.000+00:00'
    assert message.present == ('rgb', 'audio')
    assert message.peak == pytest.approx(.9)


def test_a_clock_that_is_known_better_tells_the_next_alarm_and_leaves_the_one_that_lasts():
    follower = Follower('door', 'fight', Rules(.5, .5), wall=1000.0, speed=1.0)
    follower.wall = 999.0
    (first,) = follower.judged([level(.9)], 0.0, 1.0, 1.0, ['rgb'])
    follower.wall = 998.0
    (ended,) = follower.judged([level(.1)], 1.0, 1.0, 2.0, ['rgb'])
    (second,) = follower.judged([level(.9)], 2.0, 1.0, 3.0, ['rgb'])
    assert first.time == ended.time == '1970-01-01T00:16:39.000+00:00'
    assert second.time == '1970-01-01T00:16:40.000+00:00'


def test_a_way_of_telling_that_fails_holds_up_no_other():
    told, said = [], []

    def broken(_):
        raise BrokenPipeError(32, 'Broken pipe')

    ways = [broken]
    tell = to_each(ways, said.append)
    ways.append(told.append)
    message = Alarm('a', 0, 'start', 'door', 'fight', 1.0, 2.0, '', 0.5, ())
    tell(message)
    assert told == [message]
    assert said == ['door: an alarm cannot be told: Broken pipe']
