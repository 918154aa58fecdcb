"""A run that scores moments, from a store of films to a table beside baselines, and to a video of the best parts."""

import json
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from tests.cli.conftest import refused, vmmjax
from tests.serving.live import lights
from tests.tasks import asked
from vmmjax.errors import UserError
from vmmjax.evaluation.predictions import Predictions
from vmmjax.experiment import Experiment
from vmmjax.media import probe, video
from vmmjax.pipeline import stored_signals
from vmmjax.pipeline.event_targets import Segments
from vmmjax.pipeline.targets import WindowBatch
from vmmjax.store.store import Store
from vmmjax.tasks.summarization import token_importance
from vmmjax.training.objective import total

TASK = dict(name='summarization', share=0.25, segment=0.5)


@pytest.fixture(scope='module')
def run(films, tmp_path_factory):
    return lights.save_run(tmp_path_factory.mktemp('summaries') / 'run', films / 'store', task=TASK)


def test_a_token_has_the_mean_importance_of_its_time():
    segments = jnp.asarray([[[0.5, 1.0, 0.4], [1.0, 3.0, 1.0], [0, 0, 0]], [[np.nan] * 3] * 3])
    found = token_importance(segments, jnp.asarray([4.0, 4.0]), 4)
    np.testing.assert_allclose(found, [[0.2, 1, 1, 0], [np.nan] * 4])


def test_the_loss_is_over_tokens_that_are_there():
    logits = np.random.default_rng(0).normal(size=(2, 2, 1)).astype(np.float32)
    batch = {'mask': jnp.ones(2), 'target/segments': jnp.asarray([[[0, 1, .5]], [[0, 2, 1.]]], jnp.float32),
             'target/window': jnp.asarray([[0, 2], [0, 2]], jnp.float32)}

    def apply(variables, batch, **_):
        return SimpleNamespace(logits=logits, mask=jnp.asarray([[1, 1], [1, 0]], bool)), {}

    value = total(asked.loss(asked.task(TASK, ('from', 'to')), apply, {}, batch))
    p = 1 / (1 + np.exp(-logits[..., 0]))
    each = [-.5 * np.log(p[0, 0]) - .5 * np.log(1 - p[0, 0]), -np.log(1 - p[0, 1]), -np.log(p[1, 0])]
    np.testing.assert_allclose(value, np.mean(each), rtol=1e-5)


def test_importances_of_a_catalog_follow_the_window():
    columns = {'from': ['1;3', ''], 'to': ['2;4', ''], 'how': ['0.5;1', ''], 'start': ['0', '0']}
    store = SimpleNamespace(name='s', clip=str, values=lambda name: np.array(columns[name]), durations=np.full(2, 4.0))
    batch = WindowBatch(np.array([0, 1]), np.ones(2, bool), np.zeros(2, bool), np.array([1.0, 0.0]), np.full(2, 2.0))
    found = Segments(store, ('from', 'to', 'how')).of(batch)['target/segments']
    np.testing.assert_allclose(found[0], [[0, 1, 0.5], [2, 3, 1]])
    assert (found[1, :, 2] == 0).all()
    columns['how'] = ['0.5', '']
    with pytest.raises(UserError, match=r"has 2 segments and 'how' = '0\.5'"):
        Segments(store, ('from', 'to', 'how'))


def test_what_is_padding_after_the_end_of_a_clip_is_no_part_of_it():
    task = asked.task({**TASK, 'segment': 1.0}, ('from', 'to'))
    rows = Predictions(
        np.zeros(2, np.int32),
        {'window': np.float32([[0, 10], [10, 10]]), 'end': np.float32([13, 13]),
         'segments': np.float32([[[11, 13, 1]], [[1, 3, 1]]])},
        {'logits': np.float32([[-1], [1]]), 'mask': np.ones((2, 1), np.float32)}, {'rgb': np.ones(2, bool)})
    clip, = task.clips(rows)
    np.testing.assert_allclose(clip.cut, np.arange(14))
    np.testing.assert_allclose(clip.importance, [0] * 11 + [1, 1])
    told, = task.reading(rows, 0)
    assert [(part['start'], part['end']) for part in told['segments']] == [(10, 13)]  # A quarter of 13 s.
    assert told['scores'][-1][:2] == [12, 13]
    assert task.summary(rows)['importance_kept'] == 1


def test_motion_and_loudness_of_stored_clips(films):
    store = Store(films / 'store')
    row = int(np.flatnonzero(store.values('path') == 'film.mp4')[0])
    found = stored_signals.of_segments(store, row, np.arange(13.0))
    assert found.keys() == {'motion energy', 'cuts', 'loudness'}
    assert set(np.argsort(-found['loudness'])[:3].tolist()) == {3, 4, 8}
    # It becomes bright at 3 s and dark at 5 s.
    assert {2, 3} & set(np.argsort(-found['cuts'])[:4].tolist())
    assert (found['cuts'] >= found['motion energy']).all()


@pytest.mark.slow
def test_it_is_measured_beside_baselines(run):
    result = Experiment.load(run).evaluate('test')
    assert result.examples == 2
    assert result.metrics['importance_kept'] > 0.9
    assert result.metrics['kendall_tau'] > 0.5
    assert result.chance['importance_kept'] == pytest.approx(0.25, abs=0.05)
    (table,) = result.tables
    by = {row[0]: row[1] for row in table['rows']}
    assert list(by) == ['the model', 'at random', 'at equal distances', 'motion energy', 'cuts', 'loudness']
    assert by['the model'] > by['at equal distances']
    assert by['loudness'] > 0.9  # Events are loud in these films.


@pytest.mark.slow
def test_a_command_writes_the_parts(run, films, tmp_path):
    summary = tmp_path / 'summary.mp4'
    found = vmmjax('summarize', films / 'film.mp4', f'--weights={run}', f'--output={summary}', '--json')
    assert found.returncode == 0, found.stderr
    told = json.loads(found.stdout)
    seconds = sum(part['end'] - part['start'] for part in told['parts'])
    assert seconds == pytest.approx(0.25 * lights.SECONDS)
    assert len(told['scores']) == 24
    for part in told['parts']:
        assert any(start - 0.5 <= part['start'] and part['end'] <= end + 0.5
                   for start, end in lights.EVENTS['film.mp4'])
    held = probe.probe(summary)
    assert held.picture_end == pytest.approx(seconds, abs=0.11)
    assert held.sound_end == pytest.approx(seconds, abs=0.15)
    pictures = video.read_frames(summary, start=0, end=seconds, fps=lights.FPS, short_side=16)
    assert (pictures.mean((1, 2, 3)) > 120).mean() > 0.9
    assert [path.name for path in tmp_path.iterdir()] == ['summary.mp4']
    assert 'is the video itself' in refused('summarize', summary, f'--weights={run}', f'--output={summary}')


@pytest.mark.parametrize(('changed', 'target', 'message'), [
    (dict(share=0.0), ('from', 'to'), 'share=0.0 and segment=0.5'),
    ({}, 'label', "data.target is 'label'; name a column of starts"),
])
def test_what_a_config_gets_wrong(changed, target, message):
    with pytest.raises(UserError, match=message):
        asked.task({**TASK, **changed}, target)
