"""A run that writes texts, watching: its sentences are those of a timeline of the file."""

import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.serving.live import lights, reading
from vmmjax.errors import UserError
from vmmjax.evaluation import new_clips
from vmmjax.experiment import Experiment
from vmmjax.pipeline.windows import WindowSpec
from vmmjax.serving.live.judge import Judge, rules_of
from vmmjax.serving.live.monitor import Monitor
from vmmjax.serving.live.source import Reading, Source

pytest.importorskip('jiwer', reason='jiwer is not installed: pip install "vmmjax[sequences]"')


@pytest.fixture(scope='module')
def run(films, tmp_path_factory):
    """What it writes is nonsense: starts of events as words, by a random layer."""
    folder = tmp_path_factory.mktemp('writes') / 'run'
    found = Experiment.load(lights.save_run(
        folder, films / 'store', task=dict(name='transcription', ctc=1.0), target='from',
        views=dict(clips=1, crops=1, average='logits')))
    draw = np.random.default_rng(0).normal
    params = dict(found.state.params)
    params['task'] = jax.tree.map(lambda leaf: jnp.asarray(draw(size=leaf.shape), leaf.dtype), params['task'])
    found.state = found.state.replace(params=params)
    return found


@pytest.mark.slow
def test_sentences_of_a_watched_file_are_those_of_its_timeline(films, run):
    judge = Judge(run, 1)
    assert judge.writes
    changed, stop, heard = threading.Condition(), threading.Event(), []
    how = Reading(reading.COLUMNS, reading.schedule(), 0.0, keep=30.0, after=1.0)
    monitor = Monitor(
        judge, [Source(str(films / 'film.mp4'), how, changed, stop, print)], rules_of(judge, [], {}),
        stride=how.schedule.stride, changed=changed, tell=lambda _: None, say=print, clips=None, before=1.0,
        waiting=lambda: 0, hear=lambda source, window, sentence: heard.append((window.start, sentence)))
    monitor.run(stop)
    expected = list(new_clips.windows(run, films / 'film.mp4', WindowSpec(2.0, how.schedule.stride), most=1))
    assert any(sentence['words'] for _, sentence in heard)
    assert [start for start, _ in heard] == [told.start for told in expected]
    for (_, sentence), told in zip(heard, expected, strict=True):
        (other,) = told.reading
        assert [name for name, _ in sentence['named']] == [name for name, _ in other['named']]
        assert [probability for _, probability in sentence['named']] == pytest.approx(
            [probability for _, probability in other['named']], rel=1e-4)
        for word, same in zip(sentence['words'], other['words'], strict=True):
            assert (word['word'], word['start'], word['end']) == (same['word'], same['start'], same['end'])
    with pytest.raises(UserError, match='writes texts and raises no alarms'):
        rules_of(judge, ['word'], {})
