"""Frame by frame against the same network that sees a film at once."""

import numpy as np
import pytest

from tests.serving import two_streams
from tests.serving.live import lights, reading
from vmmjax.errors import UserError
from vmmjax.serving.live.frames import FrameJudge, _placed, _rate

SIDE = 16
RGB = {'rgb': reading.COLUMNS['rgb']}


def experiment(seconds=2.0, shift='uni', **changes):
    """A thin TSM-ResNet-18 of pictures alone with 10 frames a second, whose weights say something."""
    config = two_streams.config_of()
    count = round(seconds * lights.FPS)
    config.data.window.seconds = seconds
    config.data.streams = dict(rgb=dict(modality='rgb', frames=count, size=SIDE))
    config.model.preprocess = dict(rgb='signed')
    config.model.encoders = dict(rgb=dict(name='tsm_resnet18', shift=shift, width_multiplier=0.125))
    config.update_from_flattened_dict(changes)
    run = two_streams.experiment(config)
    run.run_inputs['data'] = {'format': 1, 'texts': {}, 'columns': {'rgb': {
        'kind': 'picture', 'rate': float(lights.FPS), 'chunk': 1, 'shape': [], 'builder': '',
        'options': {'fps': lights.FPS, 'short_side': SIDE}}}}
    run.run_inputs['spec'] = two_streams.SPEC | {
        'rgb': [[count, SIDE, SIDE, 3], 'uint8'], 'valid/rgb': [[count], 'bool']}
    return run


def frames_of(path):
    """The windows of single frames of a film, as a session gives them."""
    step = 1 / lights.FPS
    session = reading.session(columns=RGB, window=step, stride=step, speed=0.0, duration=float(lights.SECONDS))
    found = []
    for seconds, frame, is_picture in reading.decoded(path):
        if is_picture:
            session.take(seconds, frame, True)
            while (window := session.newest()) is not None:
                found.append(window)
    session.finish()
    while (window := session.newest()) is not None:
        found.append(window)
    return found


@pytest.mark.slow
def test_frames_say_what_the_whole_film_says(films):
    """Two films side by side, of which one is interrupted; 1e-5 of the largest logit."""
    run = experiment()
    judge = FrameJudge(run, 2)
    assert judge.window == pytest.approx(1 / lights.FPS)
    scores = []
    levels_of = type(run.task).levels
    whole = experiment(float(lights.SECONDS))
    whole.state = run.state
    film, other = (frames_of(films / name) for name in lights.EVENTS)
    assert len(film) == len(other) == lights.SECONDS * lights.FPS
    first, second, cut = object(), object(), object()

    def noted(task, found):
        scores.append(np.asarray(found))
        return levels_of(task, found)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run.task), 'levels', noted)
        judge(film[5:6], [('a', cut)])
        scores.clear()
        for place, (one, two) in enumerate(zip(film, other, strict=True)):
            if place % 3:  # The other source has nothing for a while.
                judge([one, two], [('a', first), ('b', second)])
            else:
                judge([two], [('b', second)])
                judge([one], [('a', first)])
    logits = {'a': [], 'b': []}
    number = iter(scores)
    for place in range(len(film)):
        if place % 3:
            both = next(number)
            logits['a'].append(both[0]), logits['b'].append(both[1])
        else:
            logits['b'].append(next(number)[1])
            logits['a'].append(next(number)[0])
    for source, name in zip('ab', lights.EVENTS, strict=True):
        (expected,) = whole.predict([films / name])
        found = np.mean(np.array(logits[source], np.float64), 0)
        assert np.abs(found - expected.scores).max() <= 1e-5 * max(1, np.abs(expected.scores).max())


def test_rows_stand_at_the_places_of_their_sources():
    batch = {'mask': np.array([1., 1., 0., 0.]), 'rgb': np.arange(4)}
    found = _placed(batch, [3, 1])
    assert found['rgb'][[3, 1]].tolist() == [0, 1]
    assert found['mask'].tolist() == [0, 1, 0, 1]


def test_what_cannot_go_frame_by_frame_is_refused():
    with pytest.raises(UserError, match="shift='uni'"):
        FrameJudge(experiment(shift='bi'), 1)
    with pytest.raises(UserError, match='--window'):
        FrameJudge(experiment(**{'data.window.seconds': 0.0}), 1)
    with pytest.raises(UserError, match='10 frames a second; leave --window out'):
        FrameJudge(experiment(), 1, 1.0)
    with pytest.raises(UserError, match='needs the frames to come; a live stream cannot be'):
        FrameJudge(experiment(**{'model.preprocess.rgb': 'centred'}), 1)
    run = two_streams.experiment(two_streams.config_of())
    with pytest.raises(UserError, match='audio'):
        FrameJudge(run, 1)


@pytest.mark.parametrize(('stream', 'own', 'expected'), [
    ({'rate': 5.0, 'frames': 8}, 0.0, 5.0), ({}, 0.0, 25.0), ({}, 2.0, 25.0), ({'frames': 8}, 2.0, 4.0)])
def test_a_window_is_refused_where_the_run_has_a_rate(stream, own, expected):
    assert _rate(stream, 25.0, own, 0.0) == expected
    with pytest.raises(UserError, match=f'{expected:g} frames a second; leave --window out'):
        _rate(stream, 25.0, own, 1.0)


def test_frames_of_whole_clips_have_the_rate_of_a_window():
    assert _rate({'frames': 8}, 25.0, 0.0, 4.0) == 2.0
